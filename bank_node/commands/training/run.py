"""``bank-node train`` and ``bank-node status``: take part in a training, and see where it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bank_node.commands.keys import held_key_epochs
from bank_node.commands.members import roster_members, trust_facts
from bank_node.commands.options import (
    Output,
    answers,
    facts_table,
    passphrase_option,
    state_option,
)
from bank_node.commands.output import (
    LedgerUse,
    RunAtAggregator,
    RunNotKnown,
    Status,
    TrustFacts,
    UsedUp,
)
from bank_node.commands.training.tracked import train_and_track, training_options
from bank_node.commands.training.verdict import show_verdict
from bank_node.consortium.connection import connect, read_passphrase
from bank_node.consortium.members import own_fingerprint
from bank_node.http.retry import RetryPolicy
from bank_node.run.record import read_record
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say, stdout_console
from fraudfed.consortium.trust import TrustKind
from fraudfed.errors import FraudFedError, RunFailedError
from fraudfed.paillier.kernels.kernel import kernel_note
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from bank_node.jobs.training import TrainingRecord

#: ``status`` is asked by people and by monitoring; neither waits long.
_STATUS_PATIENCE_SECONDS = 2.0


def _training_record() -> "type[TrainingRecord]":
    # What trains takes a second to import, which no other command needs.
    from bank_node.jobs.training import TrainingRecord

    return TrainingRecord


def _show_record(record: "TrainingRecord") -> None:
    trees, whole = record.result.trees, record.whole_run
    if record.taken_from_registry:
        say(
            f"run {record.run_id}: was finished by {', '.join(record.members)}; their model "
            f"is kept here, {trees} trees, sha256 {record.model_sha256}"
        )
        return
    protection = whole.protection
    say(
        f"run {record.run_id}: {trees} trees, {whole.rounds} rounds, "
        f"{whole.ciphertexts} ciphertexts sent; model accepted, sha256 {record.model_sha256}",
        f"every round under {protection.key_bits}-bit Paillier, masked against "
        f"{protection.masked_against_banks} banks, {protection.rounds_verified} of "
        f"{protection.rounds} sums verified",
    )
    show_verdict(record.result.verdict)


@click.command(
    epilog=examples(
        "bank-node train --state bank-a --data payments.parquet",
        "bank-node --log-format json train --state bank-a --data payments.csv --map paysim",
    )
)
@training_options
@answers(_training_record, _show_record)
@click.pass_obj
def train(output: Output, /, **options: Any) -> "TrainingRecord":
    """Train the run's model together with the other banks.

    A training that was stopped continues when the same command is started again.
    """
    record: TrainingRecord = train_and_track(RunKind.TRAINING, output, **options)
    return record


def _show_status(status: Status) -> None:
    table = facts_table(f"bank {status.name}")
    table.add_row("state directory", status.state)
    known = "registered" if status.registered else "not registered"
    table.add_row("aggregator", f"{status.aggregator}, {known}")
    table.add_row("fingerprint", status.fingerprint)
    if status.key_epochs:
        last = status.key_epochs[-1]
        table.add_row(
            "key epoch",
            f"{last.epoch}, {last.key_bits} bits, by {last.steward}, for {', '.join(last.roster)}",
        )
        table.add_row("key", last.key_fingerprint)
    else:
        table.add_row("key epoch", "none accepted")
    others = [member for member in status.roster if not member.self]
    confirmed = [member.name for member in others if member.confirmed]
    open_ones = [member.name for member in others if not member.confirmed]
    table.add_row("confirmed members", ", ".join(confirmed) or "none")
    table.add_row("not confirmed", ", ".join(open_ones) or "none")
    table.add_row("Paillier kernel", status.kernel)
    table.add_row("trust", _trust_words(status.trust))
    table.add_row("smallest set", f"{status.trust.least_banks} banks, of different owners")
    table.add_row("sets of banks", _ledger_text(status))
    table.add_row("run", status.run_id or "none")
    table.add_row("risk run", status.risk_run_id or "none")
    table.add_row("search", status.search_run_id or "none")
    run = status.run
    if isinstance(run, RunNotKnown):
        table.add_row("at the aggregator", run.error)
    elif run is not None:
        table.add_row("at the aggregator", f"{run.state}, round {run.round_number}")
        banks = ", ".join(run.banks) or "none"
        table.add_row("banks", f"{banks} (of {len(run.cohort)}), generation {run.generation}")
        if run.waiting:
            table.add_row("come in next", ", ".join(run.waiting))
        if run.waits_for:
            table.add_row("waits for", ", ".join(run.waits_for))
    if status.record is not None:
        for name, text in _record_facts(status.record):
            table.add_row(name, text)
    stdout_console().print(table)


def _trust_words(trust: TrustFacts) -> str:
    kind = {
        TrustKind.CONFIRMED: "confirmed members only",
        TrustKind.FIRST_USE: "INSECURE: on first use, nobody need have confirmed the members",
    }[trust.kind]
    return f"{kind}; tolerates {trust.tolerated_colluders} colluders"


def _record_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what people want to know of a finished training."""
    readable = {
        "aggregator": "the aggregator may read it",
        "members": "sealed to the members",
    }[record["model_visibility"]]
    trees, whole = record["result"]["trees"], record["whole_run"]
    facts = [
        ("model", f"{trees} trees, sha256 {record['model_sha256']}"),
        ("model visibility", f"{record['model_visibility']}: {readable}"),
    ]
    verdict = record["result"].get("verdict")
    if verdict is not None:
        facts.append(("judged", _verdict_text(verdict)))
    if whole["rounds"]:
        protection = whole["protection"]
        sent = (
            f"{whole['ciphertexts']:,} ciphertexts in {whole['rounds']:,} rounds, "
            f"{whole['bytes_sent']:,} bytes, over {record['transport']}"
        )
        protected = (
            f"{protection['key_bits']}-bit Paillier ({', '.join(protection['kernels'])}) of key "
            f"epoch {record['key_epoch']} in every round; masks against "
            f"{protection['masked_against_banks']} banks and a self mask; tag verified in "
            f"{protection['rounds_verified']:,} of {protection['rounds']:,} rounds; every request "
            "signed"
        )
        facts += [("sent", sent), ("protected by", protected)]
    if record["taken_from_registry"]:
        banks = ", ".join(record["members"])
        facts.append(("taken from the registry", f"signed by {banks}; this bank was not there"))
    trust = {
        TrustKind.CONFIRMED: "confirmed",
        TrustKind.FIRST_USE: "not confirmed: trusted on first use",
    }[TrustKind(record["trust"])]
    return [*facts, ("roster in that run", trust)]


def _verdict_text(verdict: dict[str, Any]) -> str:
    """Return the line of a verdict, from its record."""
    noised = verdict.get("noised")
    if noised is not None:
        auprc = noised["auprc"]
        text = "not known for the noise" if auprc is None else f"about {auprc['estimate']:.4f}"
        return (
            f"AUPRC {text} on about {noised['rows']:,} payments of all banks, with noise, window "
            f"{verdict['window']}"
        )
    if verdict["report"] is None:
        return f"not: {verdict['note']}"
    known = verdict["report"]["readings"][0]
    return (
        f"AUPRC {known['auprc']['estimate']:.4f} on {known['rows']:,} payments of all banks, "
        f"window {verdict['window']}"
    )


@click.command()
@state_option
@passphrase_option
@answers(Status, _show_status)
def status(path: Path, passphrase_file: Path | None) -> Status:
    """Show this bank, its keys, its roster, and what protected its last run."""
    state = StateDirectory(path)
    config, pins, record = state.config, state.pinned_roster(), None
    run_id = config.last_run(RunKind.TRAINING)
    if run_id is not None:
        record = read_record(state, run_id, _training_record())
    return Status(
        name=config.name,
        state=str(state.path),
        aggregator=config.aggregator,
        registered=config.registered,
        fingerprint=own_fingerprint(state),
        rules=config.rules,
        ledger=_ledger_use(state),
        trust=trust_facts(state, pins),
        key_epochs=held_key_epochs(state),
        roster=roster_members(pins, name=config.name),
        run_id=run_id,
        risk_run_id=config.last_run(RunKind.RISK),
        search_run_id=config.last_run(RunKind.SEARCH),
        record=None if record is None else record.model_dump(mode="json"),
        kernel=kernel_note(),
        run=_at_aggregator(state, read_passphrase(passphrase_file)),
    )


def _ledger_use(state: StateDirectory) -> LedgerUse:
    found = state.ledger().summary()
    used_up = (
        UsedUp(changes=changes, keys=keys) for changes, keys in found.keys_by_changes.items()
    )
    return LedgerUse(sets=found.sets, used_up=tuple(used_up))


def _ledger_text(status: Status) -> str:
    allowed, ledger = status.rules.set_changes, status.ledger
    most = max((one.changes for one in ledger.used_up), default=0)
    return f"{ledger.sets} revealed sums with; {most} of {allowed} set_changes used up at most"


def _at_aggregator(
    state: StateDirectory, passphrase: str | None
) -> RunAtAggregator | RunNotKnown | None:
    run_id = state.config.last_run(RunKind.TRAINING)
    if run_id is None:
        return None
    try:
        retry = RetryPolicy(patience_seconds=_STATUS_PATIENCE_SECONDS)
        with connect(state, passphrase, retry=retry) as connection:
            found = connection.client.run(run_id)
    except RunFailedError as error:
        return RunNotKnown(error=str(error), state="failed")
    except FraudFedError as error:
        return RunNotKnown(error=str(error))
    return RunAtAggregator(
        state=found.state.value,
        members=found.members,
        generation=found.generation.number,
        banks=found.generation.banks,
        waiting=found.waiting,
        waits_for=() if found.waits_for is None else found.waits_for.banks,
        cohort=found.cohort,
        round_number=found.round_number,
        ciphertexts=found.ciphertexts,
        model_sha256=found.model_sha256,
    )
