"""What ``check-data`` and ``status`` print. All of it stays on the bank's own screen."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bank_node.client import AggregatorClient
from bank_node.data_contract import TrainingRows
from bank_node.retry import RetryPolicy
from bank_node.state import StateDirectory
from fraudfed.errors import FraudFedError, RunFailedError

__all__ = ["print_data_report", "print_status", "status_report"]

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


def status_report(state: StateDirectory) -> dict[str, Any]:
    """Return what is known here, and at the aggregator if it can be reached.

    Returns
    -------
    dict
        ``name``, ``aggregator``, ``run_id``, ``min_cohort``, ``key`` (bits and fingerprints),
        ``record`` of the finished run or None, and ``run`` at the aggregator: its status, or
        ``{"error": ...}``, or None when no run was joined.
    """
    config = state.config
    package = state.key_package()
    return {
        "name": config.name,
        "state": str(state.path),
        "aggregator": config.aggregator,
        "run_id": config.run_id,
        "min_cohort": config.min_cohort,
        "key": {
            "bits": package.public_key.key_bits,
            "fingerprint": package.public_key.fingerprint,
            "package_fingerprint": package.fingerprint,
        },
        "record": None if config.run_id is None else state.record(config.run_id),
        "run": _run_status(state),
    }


def print_status(console: Console, report: dict[str, Any]) -> None:
    """Print a status report for a person."""
    table = _facts(f"bank {report['name']}")
    table.add_row("state directory", report["state"])
    table.add_row("aggregator", report["aggregator"] or "not joined")
    table.add_row("key", f"{report['key']['bits']} bits, {report['key']['fingerprint']}")
    table.add_row("key package", report["key"]["package_fingerprint"])
    table.add_row("smallest cohort", str(report["min_cohort"]))
    table.add_row("run", report["run_id"] or "none")
    run = report["run"]
    if run is not None and "error" in run:
        table.add_row("at the aggregator", run["error"])
    elif run is not None:
        members = ", ".join(run["members"]) or "nobody"
        table.add_row("at the aggregator", f"{run['state']}, round {run['round_number']}")
        table.add_row("banks", f"{members} (of {run['cohort_size']})")
    record = report["record"]
    if record is not None:
        table.add_row("model", f"{record['trees']} trees, sha256 {record['model_sha256']}")
        table.add_row(
            "sent",
            f"{record['ciphertexts']:,} ciphertexts in {record['rounds']:,} rounds, "
            f"{record['bytes_sent']:,} bytes, all under {record['key_bits']}-bit Paillier",
        )
    console.print(table)


def _facts(title: str) -> Table:
    """Return a table of names and values that cuts no fingerprint short."""
    table = Table(title=title, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _run_status(state: StateDirectory) -> dict[str, Any] | None:
    url, token, run_id = state.config.aggregator, state.token(), state.config.run_id
    if url is None or token is None or run_id is None:
        return None
    try:
        retry = RetryPolicy(patience_seconds=_STATUS_PATIENCE_SECONDS)
        with AggregatorClient(url, token=token, retry=retry) as client:
            status = client.run(run_id)
    except RunFailedError as error:
        return {"error": str(error), "state": "failed"}
    except FraudFedError as error:
        return {"error": str(error)}
    return {
        "state": status.state.value,
        "members": list(status.members),
        "cohort_size": status.spec.cohort_size,
        "round_number": status.round_number,
        "ciphertexts": status.ciphertexts,
        "model_sha256": status.model_sha256,
    }
