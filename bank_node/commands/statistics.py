"""``bank-node statistics``: sum what the columns of a contract hold with the other banks."""

from pathlib import Path
from typing import Any

import click

from bank_node.commands.options import (
    Output,
    answers,
    facts_table,
    memory_option,
    run_options,
    state_option,
)
from bank_node.commands.output import (
    CountedCell,
    CountedColumn,
    CountedEntity,
    PooledStatistics,
)
from bank_node.commands.taking_part import take_part_in
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.console import examples, say, stdout_console
from fraudfed.wire.messages import RunKind

#: Categories of a column that the text names.
_SHOWN_CELLS = 3


def _show_statistics(found: PooledStatistics) -> None:
    from rich.table import Table

    facts = facts_table(f"run {found.run_id}")
    facts.add_row("banks", ", ".join(found.members))
    facts.add_row("rows", f"{found.rows:,}")
    facts.add_row("with a label", f"{found.labelled:,}")
    if found.labelled:
        facts.add_row("prevalence", f"{found.frauds / found.labelled:.4%}")
    for entity in found.entities:
        facts.add_row(
            f"each {entity.entity}",
            f"about {entity.distinct:,.0f} with {found.min_customers} or more customers at a bank; "
            f"{_with_error(entity)} known so to two or more banks",
        )
    table = Table("column", "missing", "5 %", "median", "95 %", "most frequent")
    for column in found.columns:
        levels = dict(column.quantiles)
        missing = "" if column.missing_share is None else f"{column.missing_share:.1%}"
        numbers = [_rounded(levels[at]) if at in levels else "" for at in (0.05, 0.5, 0.95)]
        # Ranges of numbers are in the JSON; quantiles say more on a line.
        cells = "" if levels else _frequent(column)
        table.add_row(column.name, missing, *numbers, cells)
    stdout_console().print(facts)
    stdout_console().print(table)
    say(
        f"Compare a file with the others': bank-node check-data --state DIR --data FILE "
        f"--against {found.run_id}"
    )


def _rounded(value: float) -> str:
    # They are known to an eighth: more digits would be made up.
    return f"{float(f'{value:.2g}'):,g}"


def _with_error(entity: CountedEntity) -> str:
    if entity.several_error is None:
        return "an unknown number"
    return f"{entity.several:,.0f} (standard error {entity.several_error:,.0f})"


def _frequent(column: CountedColumn) -> str:
    total = sum(cell.rows for cell in column.cells)
    most = sorted(column.cells, key=lambda cell: -cell.rows)[:_SHOWN_CELLS]
    return ", ".join(f"{cell.name} {cell.rows / total:.0%}" for cell in most)


@click.command(
    epilog=examples(
        "bank-node statistics --state bank-a --data payments.parquet",
        "bank-node statistics --state bank-a --data payments.csv --map paysim --json",
    ),
)
@state_option
@run_options
@memory_option
@answers(PooledStatistics, _show_statistics)
@click.pass_obj
def statistics(
    output: Output, /, path: Path, passphrase_file: Path | None, **options: Any
) -> PooledStatistics:
    """Sum missing values, quantiles, histograms and frauds of each column over all banks.

    Nothing is trained. A run that was stopped continues when the same command is started again.
    """
    state = StateDirectory(path)
    record = take_part_in(
        RunKind.STATISTICS, state, output, passphrase_file=passphrase_file, options=options
    )
    return pooled_statistics(state, state.current_run(record.run_id), record.members)


def pooled_statistics(
    state: StateDirectory, run: PinnedRun, members: tuple[str, ...]
) -> PooledStatistics:
    """Return what the accepted sums of a run say; raises StateError if they are damaged."""
    from fraudfed.statistics.layout import Layout
    from fraudfed.statistics.pooled import Statistics
    from fraudfed.statistics.summary import summarise_columns, summarise_entities

    layout = Layout.of(run.contract, run.statistics, n_banks=len(run.cohort))
    found = Statistics.from_bytes(state.statistics(run.run_id), layout=layout)
    return PooledStatistics(
        run_id=run.run_id,
        members=members,
        rows=found.rows,
        labelled=found.labelled,
        frauds=found.frauds,
        min_count=run.statistics.min_count,
        min_customers=run.statistics.min_customers,
        columns=tuple(
            CountedColumn(
                group=column.group,
                name=column.name,
                missing_share=column.missing_share,
                quantiles=column.quantiles,
                cells=tuple(
                    CountedCell(name=cell.name, rows=cell.rows, frauds=cell.frauds)
                    for cell in column.cells
                ),
            )
            for column in summarise_columns(found)
        ),
        entities=tuple(
            CountedEntity(
                entity=entity.entity,
                entered=entity.entered,
                distinct=entity.distinct.value,
                distinct_error=_finite(entity.distinct.error),
                several=entity.several.value,
                several_error=_finite(entity.several.error),
            )
            for entity in summarise_entities(found)
        ),
    )


def _finite(error: float) -> float | None:
    return error if error < float("inf") else None
