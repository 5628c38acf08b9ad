"""``bank-node search``: find the best of several sets of parameters with the other banks."""

from typing import TYPE_CHECKING, Any

import click

from bank_node.commands.options import (
    Output,
    answers,
)
from bank_node.commands.training.tracked import train_and_track, training_options
from bank_node.commands.training.verdict import show_verdict
from fraudfed.console import examples, say, stdout_console
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from bank_node.jobs.search import SearchRecord


def _search_record() -> "type[SearchRecord]":
    # What trains takes a second to import, which no other command needs.
    from bank_node.jobs.search import SearchRecord

    return SearchRecord


def _show_record(record: "SearchRecord") -> None:
    from rich.table import Table

    result, whole = record.result, record.whole_run
    table = Table("candidate", "trees", "best after", result.select_by, "", title="candidates")
    for each in result.candidates:
        table.add_row(
            each.name,
            str(each.trees),
            str(each.best_trees),
            f"{each.best:.4f}",
            "chosen" if each.name == result.winner else "",
        )
    stdout_console().print(table)
    if record.taken_from_registry:
        say(f"run {record.run_id}: was finished by {', '.join(record.members)}")
    show_verdict(result.verdict)
    say(
        f"run {record.run_id}: {result.winner} of {len(result.candidates)} candidates, "
        f"{result.trees} trees; {whole.rounds} rounds, {whole.ciphertexts} ciphertexts sent; "
        f"model and search accepted, sha256 {record.model_sha256}",
        f"Score with it: bank-node score --state DIR --run {record.run_id} --data FILE --out FILE",
    )


@click.command(
    epilog=examples(
        "bank-node search --state bank-a --data payments.parquet",
        "bank-node --log-format json search --state bank-a --data payments.csv --map paysim",
    )
)
@training_options
@answers(_search_record, _show_record)
@click.pass_obj
def search(output: Output, /, **options: Any) -> "SearchRecord":
    """Find the best of several sets of parameters, and its model, with the other banks.

    A search that was stopped continues when the same command is started again.
    """
    record: SearchRecord = train_and_track(RunKind.SEARCH, output, **options)
    return record
