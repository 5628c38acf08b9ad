"""``bank-node decisions``: the log of what was decided about each payment."""

from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path

import click

from bank_node.commands.deciding.answers import (
    ErasedCustomer,
    ExportedRows,
    ShownDecision,
    VerifiedDecisions,
)
from bank_node.commands.deciding.common import (
    END,
    TIME,
    heard_label,
    heard_text,
    history_of,
    log_of,
    opened,
    seconds,
    time_text,
)
from bank_node.commands.options import answers, out_option, passphrase_option, state_option
from fraudfed.console import examples, say
from fraudfed.errors import NotFoundError


@click.group()
def decisions() -> None:
    """Read, check and erase what was decided about payments; needs no network."""


def _show(found: ShownDecision) -> None:
    from fraudfed.payments.currencies import EXPONENTS, minor_units

    for name, value in found:
        if name == "amount_minor" and found.currency in EXPONENTS:
            places = EXPONENTS[found.currency]
            say(f"amount: {value / minor_units(found.currency):,.{places}f} {found.currency}")
        elif name not in {"labels", "bins", "shown", "currency"} and value is not None:
            text = time_text(value) if name in {"event_time", "decided_at"} else value
            say(f"{name.replace('_', ' ')}: {text}")
    for label in found.labels:
        say(f"heard: {heard_text(label)}")


@decisions.command("show", epilog=examples("bank-node decisions show --state bank-a t-4711"))
@click.argument("transaction")
@state_option
@passphrase_option
@answers(ShownDecision, _show)
def show(transaction: str, path: Path, passphrase_file: Path | None) -> ShownDecision:
    """Show what was decided about TRANSACTION, by what, and what was heard of it since."""
    state = opened(path, passphrase_file)
    found = log_of(state).find(transaction)
    if found is None:
        raise NotFoundError(
            f"transaction {transaction!r}: has no decision in this log; it was never scored, is "
            "past its retention, or its customer was erased: check the id"
        )
    heard = history_of(state).of(transaction)
    values = {**asdict(found), "bins": found.bins.hex(), "shown": found.shown.hex()}
    return ShownDecision(**values, labels=tuple(map(heard_label, heard)))


def _show_exported(exported: ExportedRows) -> None:
    say(f"{exported.out}: {exported.rows} decisions")


@decisions.command(
    "export",
    epilog=examples(
        "bank-node decisions export --state bank-a --from 2026-11-01 --out decisions.parquet"
    ),
)
@state_option
@click.option("--from", "start", type=TIME, default=None, help="First decision, UTC.")
@click.option("--until", "stop", type=TIME, default=None, help="Before this time, UTC.")
@out_option
@passphrase_option
@answers(ExportedRows, _show_exported)
def export(
    path: Path,
    start: datetime | None,
    stop: datetime | None,
    out: Path,
    passphrase_file: Path | None,
) -> ExportedRows:
    """Write decisions into a file, readable by its owner alone: it is not encrypted."""
    import pyarrow as pa

    from bank_node.decisions.decision import Decision
    from bank_node.serving.table_file import check_output, write_table

    check_output(out)
    log = log_of(opened(path, passphrase_file))
    names = [each.name for each in fields(Decision)]
    columns: dict[str, list[object]] = {name: [] for name in names}
    for decision in log.between(seconds(start) or 0, seconds(stop) or END):
        for name in names:
            value = getattr(decision, name)
            columns[name].append(value.hex() if isinstance(value, bytes) else value)
    whole = {"event_time", "decided_at", "amount_minor", "risk_age_days", "bundle_seconds"}
    flags = {"has_state", "warn_only", "with_reasons"}
    real = {"margin", "score", "probability", "challenger_margin", "propensity"}
    kinds = {
        **dict.fromkeys(whole, pa.int64()),
        **dict.fromkeys(real, pa.float64()),
        **dict.fromkeys(flags, pa.bool_()),
    }
    table = pa.table(
        {name: pa.array(columns[name], type=kinds.get(name, pa.string())) for name in names}
    )
    write_table(table, out)
    return ExportedRows(out=str(out), rows=table.num_rows)


def _show_erased(erased: ErasedCustomer) -> None:
    of = f"{erased.decisions} decisions and {erased.labels} labels"
    if erased.done:
        say(f"{of} are erased; backups made before still hold them")
    else:
        say(f"{of} would be erased; nothing was changed: give --yes to do it")


@decisions.command("erase", epilog=examples("bank-node decisions erase --state bank-a c-17 --yes"))
@click.argument("customer")
@state_option
@click.option("--yes", is_flag=True, help="Do it; without this, only count.")
@passphrase_option
@answers(ErasedCustomer, _show_erased)
def erase(customer: str, path: Path, yes: bool, passphrase_file: Path | None) -> ErasedCustomer:
    """Erase the decisions about CUSTOMER and the labels of its payments; cannot be undone."""
    state = opened(path, passphrase_file)
    log, history = log_of(state), history_of(state)
    transactions = [each.transaction_id for each in log.of_customer(customer)]
    if not yes:
        labels = sum(len(history.of(each)) for each in set(transactions))
        return ErasedCustomer(decisions=len(transactions), labels=labels, done=False)
    # The labels first: without the decisions, nothing says whose they are.
    labels = history.erase(transactions)
    return ErasedCustomer(decisions=log.erase(customer), labels=labels, done=True)


def _show_verified(verified: VerifiedDecisions) -> None:
    period = ""
    if verified.first is not None and verified.last is not None:
        period = f", from {time_text(verified.first)} to {time_text(verified.last)}"
    say(
        f"{verified.decisions} decisions in {verified.segments} segments are whole{period}; "
        f"{verified.erased} are erased"
    )


@decisions.command("verify")
@state_option
@passphrase_option
@answers(VerifiedDecisions, _show_verified)
def verify(path: Path, passphrase_file: Path | None) -> VerifiedDecisions:
    """Read and open every decision that is not erased."""
    return VerifiedDecisions(**asdict(log_of(opened(path, passphrase_file)).verify()))
