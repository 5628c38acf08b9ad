"""``bank-node outcomes``: what became of payments, and how good the decisions were."""

import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.deciding.answers import (
    AddedLabels,
    ExportedRows,
    OutcomesReport,
    ReportedHoldOut,
    ReportedWeek,
    ShownLabels,
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
)
from bank_node.commands.deciding.week_text import completeness_text, ends_text
from bank_node.commands.kept import OUTCOMES_REPORT, keep_report
from bank_node.commands.options import (
    answers,
    data_option,
    out_option,
    passphrase_option,
    state_option,
)
from fraudfed.console import examples, say, stdout_console
from fraudfed.errors import NotFoundError

if TYPE_CHECKING:
    from bank_node.outcomes.label import Label
    from bank_node.outcomes.report import Week
    from fraudfed.reading.location import Location

_DAY = 86_400


@click.group()
def outcomes() -> None:
    """Record what became of payments, and report on decisions; needs no network."""


def _show_added(added: AddedLabels) -> None:
    say(f"{added.new} of {added.rows} labels are new")


@outcomes.command("add", epilog=examples("bank-node outcomes add --state bank-a --data labels.csv"))
@state_option
@data_option
@passphrase_option
@answers(AddedLabels, _show_added)
def add(path: Path, data: "Location", passphrase_file: Path | None) -> AddedLabels:
    """Add a file of labels to the history; adding it twice changes nothing."""
    from bank_node.outcomes.label_file import read_labels

    state = opened(path, passphrase_file)
    labels = read_labels(data)
    return AddedLabels(rows=len(labels), new=history_of(state).add(labels))


def _show_labels(found: ShownLabels) -> None:
    for label in found.heard:
        say(heard_text(label))
    meaning = {None: "nothing that decides", 0: "genuine", 1: "fraud"}[found.is_fraud]
    say(f"counts as: {meaning}{', stopped' if found.is_blocked else ''}")


@outcomes.command("show", epilog=examples("bank-node outcomes show --state bank-a t-4711"))
@click.argument("transaction")
@state_option
@passphrase_option
@answers(ShownLabels, _show_labels)
def show(transaction: str, path: Path, passphrase_file: Path | None) -> ShownLabels:
    """Show what was heard of TRANSACTION, and what it counts as now."""
    history = history_of(opened(path, passphrase_file))
    heard, label = history.of(transaction), history.label(transaction, END)
    if label is None:
        raise NotFoundError(
            f"transaction {transaction!r}: nothing was heard of it; check the id, or add its label "
            "with 'bank-node outcomes add'"
        )
    return ShownLabels(
        transaction_id=transaction,
        is_fraud=label.is_fraud,
        label_time=label.label_time,
        is_blocked=label.is_blocked,
        heard=tuple(map(heard_label, heard)),
    )


def _show_exported(exported: ExportedRows) -> None:
    say(f"{exported.out}: {exported.rows} labels")


@outcomes.command(
    "export",
    epilog=examples(
        "bank-node outcomes export --state bank-a --as-of 2026-11-01 --out labels.parquet"
    ),
)
@state_option
@click.option(
    "--as-of", type=TIME, default=None, help="Labels as they were known then, UTC.  [default: now]"
)
@out_option
@passphrase_option
@answers(ExportedRows, _show_exported)
def export(
    path: Path, as_of: datetime | None, out: Path, passphrase_file: Path | None
) -> ExportedRows:
    """Write the columns is_fraud, label_time and is_blocked that training reads."""
    import pyarrow as pa

    from bank_node.serving.table_file import check_output, write_table

    check_output(out)
    history = history_of(opened(path, passphrase_file))
    time_known = seconds(as_of)
    found = history.as_of(END if time_known is None else time_known)
    labels = found.values()
    table = pa.table(
        {
            "transaction_id": pa.array(list(found), type=pa.string()),
            "is_fraud": pa.array([each.is_fraud for each in labels], type=pa.int64()),
            "label_time": pa.array([each.label_time for each in labels], type=pa.int64()),
            "is_blocked": pa.array([int(each.is_blocked) for each in labels], type=pa.int64()),
            "fraud_kind": pa.array([each.fraud_kind for each in labels], type=pa.string()),
        }
    )
    write_table(table, out)
    return ExportedRows(out=str(out), rows=table.num_rows)


def _show_report(report: OutcomesReport) -> None:
    from rich.table import Table

    from fraudfed.payments.currencies import minor_units

    unit = 1 if report.currency is None else minor_units(report.currency)
    money = report.currency or "minor units"
    table = Table(
        *("week of", "decisions", "alerts", "frauds known", "completeness"),
        *("precision", "recall", f"saved, {money}"),
    )
    for each in report.weeks:
        table.add_row(
            each.monday,
            f"{each.decisions:,}",
            f"{each.alerts:,}",
            f"{each.frauds:,}",
            ends_text(
                each.completeness,
                each.completeness_lower,
                each.completeness_upper,
                is_young=each.is_young,
            ),
            ends_text(each.precision, each.precision_lower, each.precision_upper),
            ends_text(each.recall),
            f"{each.saved_minor / unit:,.0f} of {each.fraud_minor / unit:,.0f}",
        )
    stdout_console().print(table)
    say(completeness_text(report.delay_window_days))
    held = report.holdout
    if held is not None and held.precision is not None:
        say(
            f"hold-out: of {held.held_out} payments that were not blocked by the draw, "
            f"{held.frauds} were fraud; {held.precision:.1%} of all blocks are right "
            f"({held.lower:.1%} to {held.upper:.1%})"
        )


@outcomes.command(
    "report", epilog=examples("bank-node outcomes report --state bank-a --from 2026-09-01")
)
@state_option
@click.option(
    "--from",
    "start",
    type=TIME,
    default=None,
    help="First decision, UTC.  [default: 13 weeks before --as-of]",
)
@click.option(
    "--as-of", type=TIME, default=None, help="Labels as they were known then, UTC.  [default: now]"
)
@passphrase_option
@answers(OutcomesReport, _show_report)
def report(
    path: Path, start: datetime | None, as_of: datetime | None, passphrase_file: Path | None
) -> OutcomesReport:
    """Report precision, recall and value saved by week, divided by completeness."""
    from bank_node.outcomes.report import held_out, weekly

    state = opened(path, passphrase_file)
    known = seconds(as_of)
    until = int(time.time()) + 1 if known is None else known
    first = seconds(start)
    history = history_of(state)
    begin = until - 91 * _DAY if first is None else first
    found = list(log_of(state).between(begin, until))

    def label(transaction: str) -> "Label | None":
        return history.label(transaction, until)

    weeks, delay = weekly(found, label, as_of=until)
    drawn = held_out(found, label)
    currencies = {each.currency for each in found}
    answer = OutcomesReport(
        as_of=until,
        currency=currencies.pop() if len(currencies) == 1 else None,
        delay_window_days=None if delay is None else delay.window / _DAY,
        weeks=tuple(_reported(each) for each in weeks),
        holdout=None if drawn is None else ReportedHoldOut(**asdict(drawn)),
    )
    keep_report(state, OUTCOMES_REPORT, answer)
    return answer


def _reported(week: "Week") -> ReportedWeek:
    figures = asdict(week.outcome)
    return ReportedWeek(
        monday=week.monday,
        decisions=figures.pop("payments"),
        frauds_alerted=figures.pop("frauds_found"),
        **figures,
    )
