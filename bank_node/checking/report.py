"""The report of ``check-data``: what a file holds, what is missing in it, and what is wrong."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bank_node.checking.against import ComparedFile, show_compared
from fraudfed.console import Answer, say, stdout_console
from fraudfed.errors import DataError
from fraudfed.foreign_text import visible
from fraudfed.reading.report import ProblemReport, report_lines

if TYPE_CHECKING:
    from bank_node.checking.facts import Facts
    from fraudfed.reading.location import Location
    from fraudfed.wire.messages import DataContract


class MissingValues(Answer):
    """How many values of a feature are missing.

    ``share`` is of the rows for training; without labels, of all rows.
    """

    feature: str
    missing: int
    share: float


class ReportedBy(Answer):
    """Frauds by an age of their payments; see ``reporting_curve.CurvePoint``."""

    days: int
    reported: float | None
    frauds_old_enough: int
    complete: float | None


class Reporting(Answer):
    """When frauds are reported, and of which kinds they are. All of it stays at the bank.

    Attributes
    ----------
    frauds : int
        Known frauds of the population, whether they are trained on or not.
    end : int
        Latest payment or report of the file, UTC epoch seconds.
    window_days : float or None
        Shares are of the frauds that are reported within it; None with too few frauds.
    curve : tuple of ReportedBy
    enough_days : int or None
        Label horizon that waits for 95 % of them.
    kinds : dict of str to int
        Frauds by kind; unknown kinds are ``other``, those without a kind are not counted.
    unknown_kinds : int
        Frauds whose kind is not in the list.
    said : tuple of str
        The same in sentences.
    """

    frauds: int
    end: int
    window_days: float | None
    curve: tuple[ReportedBy, ...]
    enough_days: int | None
    kinds: dict[str, int]
    unknown_kinds: int
    said: tuple[str, ...]


class CheckedWindow(Answer):
    """What a window of the run holds of the file; see ``fraudfed.intake.windows.WindowCounts``.

    ``name`` is ``train``, ``select`` or ``judge``; ``period`` has first and last event time, UTC
    epoch seconds, None without times or rows.
    """

    name: str
    rows: int
    frauds: int
    censored: int
    known_compromised: int
    period: tuple[int, int] | None


class CheckedData(Answer):
    """``check-data``: a file against a contract.

    Attributes
    ----------
    path : str
    rows_read, rows : int or None
        In the file; for training. None if the file has problems, as is what follows.
    files : int or None
        How many files the data lie in; None for one that was named by itself.
    period : (int, int) or None
        First and last event time, UTC epoch seconds; None for a plain table.
    prevalence : float or None
        Share of rows labelled as fraud; None where there are no labels.
    population : int or None
        Payments in the run's population; None if it is everybody's.
    windows : tuple of CheckedWindow
        Those that the run's contract has; empty where the file has no labels.
    features : tuple of MissingValues
    reporting : Reporting or None
        None for a plain table.
    warnings : tuple of str
    problems : ProblemReport or None
        What is wrong with the file; None if nothing is.
    against : ComparedFile or None
        With ``--against``; None if the file has problems.
    """

    path: str
    rows_read: int | None = None
    rows: int | None = None
    files: int | None = None
    period: tuple[int, int] | None = None
    prevalence: float | None = None
    population: int | None = None
    windows: tuple[CheckedWindow, ...] = ()
    features: tuple[MissingValues, ...] = ()
    reporting: Reporting | None = None
    warnings: tuple[str, ...] = ()
    problems: ProblemReport | None = None
    against: ComparedFile | None = None


def checked_data(
    path: "Location",
    facts: "Facts",
    contract: "DataContract",
    *,
    warnings: tuple[str, ...],
) -> CheckedData:
    """Return what is worth knowing about rows that meet the contract.

    Parameters
    ----------
    path : Location
        Where they are.
    facts : Facts
    contract : DataContract
    warnings : tuple of str
    """
    from bank_node.checking.fraud_kinds import count_fraud_kinds
    from bank_node.checking.reporting_curve import channel_curves, curve_lines, reporting_curve

    reporting, horizon = None, contract.label_horizon_days
    if facts.frauds is not None:
        frauds = facts.frauds
        curve = reporting_curve(frauds.event_time, frauds.label_time, end=frauds.end)
        by_channel = channel_curves(
            frauds.event_time,
            frauds.label_time,
            frauds.channels,
            end=frauds.end,
            horizon=horizon,
        )
        kinds = count_fraud_kinds(frauds.kinds or ())
        reporting = Reporting(
            frauds=curve.frauds,
            end=curve.end,
            window_days=curve.window_days,
            curve=tuple(ReportedBy(**asdict(point)) for point in curve.points),
            enough_days=curve.enough_days,
            kinds=dict(kinds.counts),
            unknown_kinds=kinds.n_unknown,
            said=tuple(curve_lines(curve, horizon=horizon, by_channel=by_channel)),
        )
        if kinds.warning is not None:
            warnings = (*warnings, f"{path}: {kinds.warning}")
    rows = max(facts.rows, 1)
    return CheckedData(
        path=visible(str(path)),
        rows_read=facts.rows_read,
        rows=facts.rows,
        period=facts.periods.get("train"),
        prevalence=facts.frauds_trained / rows,
        features=tuple(
            MissingValues(feature=spec.name, missing=count, share=count / rows)
            for spec, count in zip(contract.features, facts.n_missing.tolist(), strict=True)
        ),
        population=facts.population,
        windows=tuple(
            CheckedWindow(name=name, period=facts.periods.get(name), **asdict(count))
            for name, count in facts.counts.items()
        ),
        reporting=reporting,
        warnings=warnings,
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
    if checked.files is not None:
        facts.add_row("files", f"{checked.files:,}")
    facts.add_row("rows in the file", f"{checked.rows_read:,}")
    if checked.population is not None:
        facts.add_row("payments in the population", f"{checked.population:,}")
    facts.add_row("rows for training", f"{checked.rows:,}")
    if checked.period is not None:
        first, last = (datetime.fromtimestamp(time, UTC).isoformat() for time in checked.period)
        facts.add_row("period", f"{first} to {last}")
    if checked.prevalence is not None:
        facts.add_row("prevalence", f"{checked.prevalence:.4%}")
    windows = Table("window", "rows", "frauds", "censored", "from", "to")
    for window in checked.windows:
        start, stop = (None, None) if window.period is None else window.period
        windows.add_row(
            window.name,
            f"{window.rows:,}",
            f"{window.frauds:,}",
            f"{window.censored:,}",
            _day(start),
            _day(stop),
        )
    missing = Table("feature", "missing", "share")
    for one in checked.features:
        missing.add_row(one.feature, f"{one.missing:,}", f"{one.share:.2%}")
    console = stdout_console()
    console.print(facts)
    if len(checked.windows) > 1 or any(window.censored for window in checked.windows):
        console.print(windows)
    for window in checked.windows:
        if window.known_compromised:
            say(
                f"{window.name}: {window.known_compromised:,} payments of cards and accounts that "
                "had been reported before are left out."
            )
    console.print(missing)
    if checked.reporting is not None:
        _show_reporting(checked.reporting)
    for warning in checked.warnings:
        say(f"warning: {warning}")
    say("The data meet the contract.")


def _show_reporting(reporting: Reporting) -> None:
    from rich.table import Table

    console = stdout_console()
    if reporting.curve:
        title = "when frauds are reported"
        table = Table("days after payment", "reported", "known frauds", "complete", title=title)
        for point in reporting.curve:
            table.add_row(
                f"{point.days}",
                _share(point.reported),
                f"{point.frauds_old_enough:,}",
                _share(point.complete),
            )
        console.print(table)
    for line in reporting.said:
        say(line)
    if reporting.kinds:
        table = Table("kind of fraud", "frauds")
        for kind, count in reporting.kinds.items():
            table.add_row(kind, f"{count:,}")
        console.print(table)


def _day(time: int | None) -> str:
    return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"
