"""The report of ``check-data``: what a file holds, what is missing in it, and what is wrong."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bank_node.checking.against import ComparedFile, show_compared
from fraudfed.console import Answer, say, stdout_console
from fraudfed.errors import DataError
from fraudfed.reading.report import ProblemReport, report_lines

if TYPE_CHECKING:
    from bank_node.data.contract import TrainingRows


class MissingValues(Answer):
    """How many values of a feature are missing; ``share`` is of the rows for training."""

    feature: str
    missing: int
    share: float


class CheckedData(Answer):
    """``check-data``: a file against a contract.

    Attributes
    ----------
    path : str
    rows_read, rows : int or None
        In the file; for training. None if the file has problems, as is what follows.
    period : (int, int) or None
        First and last event time, UTC epoch seconds; None for a plain table.
    prevalence : float or None
        Share of rows labelled as fraud.
    features : tuple of MissingValues
    warnings : tuple of str
    problems : ProblemReport or None
        What is wrong with the file; None if nothing is.
    against : ComparedFile or None
        With ``--against``; None if the file has problems.
    """

    path: str
    rows_read: int | None = None
    rows: int | None = None
    period: tuple[int, int] | None = None
    prevalence: float | None = None
    features: tuple[MissingValues, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: ProblemReport | None = None
    against: ComparedFile | None = None


def checked_rows(path: Path, rows: "TrainingRows") -> CheckedData:
    """Return what is worth knowing about rows that meet the contract.

    Parameters
    ----------
    path : Path
        Their file.
    rows : TrainingRows
    """
    import numpy as np

    table = rows.table
    counts = np.count_nonzero(np.isnan(table.features), axis=0).tolist()
    return CheckedData(
        path=str(path),
        rows_read=rows.rows_read,
        rows=table.n_rows,
        period=rows.period,
        prevalence=float(np.mean(table.labels, dtype=np.float64)),
        features=tuple(
            MissingValues(feature=name, missing=count, share=count / table.n_rows)
            for name, count in zip(table.schema.names, counts, strict=True)
        ),
        warnings=rows.warnings,
    )


def failure_of(checked: CheckedData) -> DataError | None:
    """Return the error that the command ends with; None if the data meet the contract.

    Parameters
    ----------
    checked : CheckedData
    """
    return None if checked.problems is None else DataError(checked.problems.summary)


def show_checked(checked: CheckedData) -> None:
    """Print the report for people.

    Parameters
    ----------
    checked : CheckedData
    """
    if checked.problems is not None:
        say(*report_lines(checked.problems))
    else:
        _show_facts(checked)
        if checked.against is not None:
            show_compared(checked.against)


def _show_facts(checked: CheckedData) -> None:
    from rich.table import Table

    facts = Table(title=checked.path, show_header=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("rows in the file", f"{checked.rows_read:,}")
    facts.add_row("rows for training", f"{checked.rows:,}")
    if checked.period is not None:
        first, last = (datetime.fromtimestamp(time, UTC).isoformat() for time in checked.period)
        facts.add_row("period", f"{first} to {last}")
    facts.add_row("prevalence", f"{checked.prevalence:.4%}")
    missing = Table("feature", "missing", "share")
    for one in checked.features:
        missing.add_row(one.feature, f"{one.missing:,}", f"{one.share:.2%}")
    console = stdout_console()
    console.print(facts)
    console.print(missing)
    for warning in checked.warnings:
        say(f"warning: {warning}")
    say("The data meet the contract.")
