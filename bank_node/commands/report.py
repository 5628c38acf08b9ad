"""What the commands print for people, and as JSON. All of it stays on the bank's own screen."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bank_node.consortium.connection import connect
from bank_node.consortium.members import own_fingerprint
from bank_node.data.contract import TrainingRows
from bank_node.http.retry import RetryPolicy
from bank_node.run.record import read_record
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.public.documents import key_epoch_digest
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.errors import FraudFedError, RunFailedError
from fraudfed.paillier.kernel import kernel_note
from fraudfed.wire.messages import MemberKeys, RunKind

#: ``status`` is asked by people and by monitoring; neither waits long.
_STATUS_PATIENCE_SECONDS = 2.0


def print_data_report(console: Console, path: Path, rows: TrainingRows) -> None:
    """Print rows, period, prevalence and missing values of a bank's training data."""
    table = rows.table
    facts = _facts(str(path))
    facts.add_row("rows in the file", f"{rows.rows_read:,}")
    facts.add_row("rows for training", f"{table.n_rows:,}")
    if rows.period is not None:
        first, last = (datetime.fromtimestamp(time, UTC).isoformat() for time in rows.period)
        facts.add_row("period", f"{first} to {last}")
    facts.add_row("prevalence", f"{float(np.mean(table.labels, dtype=np.float64)):.4%}")
    console.print(facts)
    missing = Table("feature", "missing", "share")
    for index, name in enumerate(table.schema.names):
        count = int(np.count_nonzero(np.isnan(table.features[:, index])))
        missing.add_row(name, f"{count:,}", f"{count / table.n_rows:.2%}")
    console.print(missing)
    for warning in rows.warnings:
        console.print(f"warning: {warning}", markup=False)
    console.print("The data meet the contract.")


def status_report(state: StateDirectory, passphrase: str | None) -> dict[str, Any]:
    """Return what is known here, and at the aggregator if it can be reached.

    Returns
    -------
    dict
        ``name``, ``aggregator``, ``registered``, ``fingerprint``, ``rules``, ``key_epochs`` (see
        ``epochs_report``), ``roster`` (see ``roster_report``), ``run_id`` of the last training,
        ``risk_run_id`` of the last risk run, ``record`` of the finished training or None,
        ``kernel`` (which Paillier kernel runs here and why), and ``run`` at the aggregator: the
        status of the training, or ``{"error": ...}``, or None when this bank knows none.
    """
    from bank_node.jobs.registry import JOBS

    config, record = state.config, None
    run_id = config.last_run(RunKind.TRAINING)
    if run_id is not None:
        record = read_record(state, run_id, JOBS[RunKind.TRAINING].record_type)
    return {
        "name": config.name,
        "state": str(state.path),
        "aggregator": config.aggregator,
        "registered": config.registered,
        "fingerprint": own_fingerprint(state),
        "rules": config.rules.model_dump(mode="json"),
        "key_epochs": epochs_report(state),
        "roster": roster_report(state.pinned_roster(), name=config.name),
        "run_id": run_id,
        "risk_run_id": config.last_run(RunKind.RISK),
        "record": None if record is None else record.model_dump(mode="json"),
        "kernel": kernel_note(),
        "run": _run_status(state, passphrase),
    }


def print_status(console: Console, report: dict[str, Any]) -> None:
    """Print a status report for a person."""
    table = _facts(f"bank {report['name']}")
    table.add_row("state directory", report["state"])
    known = "registered" if report["registered"] else "not registered"
    table.add_row("aggregator", f"{report['aggregator']}, {known}")
    table.add_row("fingerprint", report["fingerprint"])
    epochs = report["key_epochs"]
    if epochs:
        last = epochs[-1]
        table.add_row(
            "key epoch",
            f"{last['epoch']}, {last['key_bits']} bits, by {last['steward']}, for "
            f"{', '.join(last['roster'])}",
        )
        table.add_row("key", last["key_fingerprint"])
    else:
        table.add_row("key epoch", "none accepted")
    others = [member for member in report["roster"] if not member["self"]]
    confirmed = [member["name"] for member in others if member["confirmed"]]
    open_ones = [member["name"] for member in others if not member["confirmed"]]
    table.add_row("confirmed members", ", ".join(confirmed) or "nobody")
    table.add_row("not confirmed", ", ".join(open_ones) or "nobody")
    table.add_row("Paillier kernel", report["kernel"])
    table.add_row("smallest cohort", str(report["rules"]["min_cohort"]))
    table.add_row("run", report["run_id"] or "none")
    table.add_row("risk run", report["risk_run_id"] or "none")
    run = report["run"]
    if run is not None and "error" in run:
        table.add_row("at the aggregator", run["error"])
    elif run is not None:
        banks = ", ".join(run["banks"]) or "nobody"
        table.add_row("at the aggregator", f"{run['state']}, round {run['round_number']}")
        table.add_row("banks", f"{banks} (of {len(run['cohort'])}), generation {run['generation']}")
        if run["waiting"]:
            table.add_row("come in next", ", ".join(run["waiting"]))
        if run["waits_for"]:
            table.add_row("waits for", ", ".join(run["waits_for"]))
    if report["record"] is not None:
        _add_record(table, report["record"])
    console.print(table)


def _add_record(table: Table, record: dict[str, Any]) -> None:
    table.add_row("model", f"{record['result']['trees']} trees, sha256 {record['model_sha256']}")
    readable = {
        "aggregator": "the aggregator may read it",
        "members": "sealed to the members",
    }[record["model_visibility"]]
    table.add_row("model visibility", f"{record['model_visibility']}: {readable}")
    if record["whole_run"]["rounds"]:
        _add_rounds(table, record)
    if record["taken_from_registry"]:
        banks = ", ".join(record["members"])
        table.add_row("taken from the registry", f"signed by {banks}; this bank was not there")
    table.add_row(
        "roster in that run", "confirmed" if record["roster_confirmed"] else "not confirmed"
    )


def _add_rounds(table: Table, record: dict[str, Any]) -> None:
    whole, protection = record["whole_run"], record["whole_run"]["protection"]
    table.add_row(
        "sent",
        f"{whole['ciphertexts']:,} ciphertexts in {whole['rounds']:,} rounds, "
        f"{whole['bytes_sent']:,} bytes, over {record['transport']}",
    )
    table.add_row(
        "protected by",
        f"{protection['key_bits']}-bit Paillier ({', '.join(protection['kernels'])}) of key epoch "
        f"{record['key_epoch']} in every round; masks against "
        f"{protection['masked_against_banks']} banks; tag verified in "
        f"{protection['rounds_verified']:,} of {protection['rounds']:,} rounds; every request "
        "signed",
    )


def roster_report(
    pins: PinnedRoster, *, name: str, now: Iterable[MemberKeys] | None = None
) -> list[dict[str, Any]]:
    """Return each pinned bank: ``name``, ``fingerprint``, ``confirmed``, ``first_seen``, ``self``.

    With the members of ``now``, ``member`` says whether the bank still is one.
    """
    names = None if now is None else {member.name for member in now}
    return [
        {
            "name": pin.keys.name,
            "fingerprint": pin.fingerprint,
            "confirmed": pin.confirmed,
            "first_seen": pin.first_seen,
            "self": pin.keys.name == name,
            **({} if names is None else {"member": pin.keys.name in names}),
        }
        for pin in pins.pins
    ]


def print_roster(console: Console, report: list[dict[str, Any]]) -> None:
    """Print every member with its fingerprint."""
    table = Table("bank", "fingerprint", "confirmed")
    for member in report:
        confirmed = "yes" if member["confirmed"] else "no"
        left = "" if member["member"] else ", left"
        table.add_row(
            member["name"],
            member["fingerprint"],
            "this bank" if member["self"] else confirmed + left,
        )
    console.print(table)


def epochs_report(state: StateDirectory) -> list[dict[str, Any]]:
    """Return each key epoch that this bank has accepted, oldest first."""
    return [
        {
            "epoch": key_epoch.epoch,
            "steward": key_epoch.steward,
            "roster": [member.name for member in key_epoch.roster],
            "key_bits": int(key_epoch.public_key.n, 16).bit_length(),
            "key_fingerprint": key_epoch.public_key.fingerprint,
            "digest": key_epoch_digest(key_epoch),
        }
        for key_epoch in map(state.key_epoch, state.epochs())
        if key_epoch is not None
    ]


def print_epochs(console: Console, report: list[dict[str, Any]]) -> None:
    """Print the key epochs of this bank."""
    if not report:
        console.print("no key epoch was accepted yet")
        return
    for epoch in report:
        table = _facts(f"key epoch {epoch['epoch']}")
        table.add_row("steward", epoch["steward"])
        table.add_row("banks", ", ".join(epoch["roster"]))
        table.add_row("key", f"{epoch['key_bits']} bits, {epoch['key_fingerprint']}")
        table.add_row("digest", epoch["digest"])
        console.print(table)


def _facts(title: str) -> Table:
    """Return a table of names and values that cuts no fingerprint short."""
    table = Table(title=title, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _run_status(state: StateDirectory, passphrase: str | None) -> dict[str, Any] | None:
    run_id = state.config.last_run(RunKind.TRAINING)
    if run_id is None:
        return None
    try:
        retry = RetryPolicy(patience_seconds=_STATUS_PATIENCE_SECONDS)
        with connect(state, passphrase, retry=retry) as connection:
            status = connection.client.run(run_id)
    except RunFailedError as error:
        return {"error": str(error), "state": "failed"}
    except FraudFedError as error:
        return {"error": str(error)}
    return {
        "state": status.state.value,
        "members": list(status.members),
        "generation": status.generation.number,
        "banks": list(status.generation.banks),
        "waiting": list(status.waiting),
        "waits_for": [] if status.waits_for is None else list(status.waits_for.banks),
        "cohort": list(status.cohort),
        "round_number": status.round_number,
        "ciphertexts": status.ciphertexts,
        "model_sha256": status.model_sha256,
    }
