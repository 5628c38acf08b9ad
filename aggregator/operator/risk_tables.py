"""Which risk tables a training looks at: those of named runs, or of the newest that fit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fraudfed.catalogue.risk_days import SECONDS_PER_DAY
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import RiskEntity, RiskSpec, RunState, RunStatus


@dataclass(frozen=True)
class Wanted:
    """What tables must be to be of use.

    Attributes
    ----------
    delay_days : int
        Between a payment and its entry.
    first_day : int or None
        Oldest day that is looked back to; None if there is none.
    last_day : int
        Newest day that must be covered.
    banks : tuple of str
        Who trains: each must have had the tables.
    """

    delay_days: int
    first_day: int | None
    last_day: int
    banks: tuple[str, ...]


@dataclass(frozen=True)
class Tables:
    """Tables that cover every day from the first of them to the last that is needed.

    Attributes
    ----------
    runs : tuple of RunStatus
        In the order of a contract: where days overlap, a later one replaces an earlier one.
    entities : tuple of RiskEntity
        What all of them count by.
    """

    runs: tuple[RunStatus, ...]
    entities: tuple[RiskEntity, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """The ``model_sha256`` of each run."""
        return tuple(run.model_sha256 for run in self.runs if run.model_sha256 is not None)

    @property
    def first_day(self) -> int:
        """Oldest day that is covered."""
        return min(_risk(run).first_day for run in self.runs)


def latest_tables(runs: Iterable[RunStatus], wanted: Wanted) -> Tables:
    """Return the fewest of the newest finished risk runs that have every day.

    Only runs that count what the newest of them counts are taken, so that no feature is lost to an
    old run.

    Raises
    ------
    ConfigurationError
        If there are none, or a day is missing.
    """
    fitting, refused = [], Counter[str]()
    for run in runs:
        if run.spec.risk is None:
            continue
        fault = _fault(run, wanted)
        if fault is None:
            fitting.append(run)
        else:
            refused[fault] += 1
    if not fitting:
        reasons = "; ".join(f"{n} {fault}" for fault, n in sorted(refused.items()))
        raise ConfigurationError(
            f"--shared-risk latest: no finished risk run fits ({reasons or 'there is none'}); "
            f"{_advice(wanted)}, or leave --shared-risk out"
        )
    fitting.sort(key=_age, reverse=True)
    entities = set(_risk(fitting[0]).entities)
    chosen: list[RunStatus] = []
    covered: set[int] = set()
    for run in fitting:
        days = _days(_risk(run), wanted)
        if entities <= set(_risk(run).entities) and not days <= covered:
            chosen.append(run)
            covered |= days
    return _complete(chosen, wanted, option="--shared-risk latest")


def named_tables(runs: Sequence[RunStatus], wanted: Wanted) -> Tables:
    """Return the tables of these runs.

    Raises
    ------
    ConfigurationError
        If one is no finished risk run that fits, is named twice, or a day is missing.
    """
    for run in runs:
        fault = "is no risk run" if run.spec.risk is None else _fault(run, wanted)
        if fault is not None:
            raise ConfigurationError(
                f"--shared-risk {run.run_id}: {fault}; choose another one, 'latest', or none"
            )
    if len({run.run_id for run in runs}) != len(runs):
        raise ConfigurationError("--shared-risk: names a run twice; name each once")
    return _complete(runs, wanted, option="--shared-risk")


def day_text(day: int) -> str:
    """Return a day, given in days since 1970-01-01 UTC, as an ISO date."""
    return datetime.fromtimestamp(day * SECONDS_PER_DAY, tz=UTC).strftime("%Y-%m-%d")


def _risk(run: RunStatus) -> RiskSpec:
    if run.spec.risk is None:
        raise ValueError(f"run {run.run_id} is no risk run")
    return run.spec.risk


def _age(run: RunStatus) -> tuple[int, int, int, str]:
    """Sort as a bank does that scores, so that both look at the same table of a day."""
    risk = _risk(run)
    return risk.last_day, risk.first_day, run.created_at, run.run_id


def _fault(run: RunStatus, wanted: Wanted) -> str | None:
    """Say why the tables of a risk run are of no use; None if they are."""
    risk = _risk(run)
    if run.state is not RunState.FINISHED or run.model_sha256 is None:
        return f"is {run.state.value}, not finished"
    if risk.delay_days != wanted.delay_days:
        return (
            f"has a delay of {risk.delay_days} days, the training has a risk delay of "
            f"{wanted.delay_days}"
        )
    absent = sorted(set(wanted.banks) - set(run.cohort))
    if absent:
        return f"was without {', '.join(absent)}, which cannot read its tables"
    if not _days(risk, wanted):
        return (
            f"has days from {day_text(risk.first_day)} to {day_text(risk.last_day)}, none of which "
            "a payment of the window looks back to"
        )
    return None


def _days(risk: RiskSpec, wanted: Wanted) -> set[int]:
    """Return the days of a run that are looked back to."""
    first = risk.first_day if wanted.first_day is None else max(risk.first_day, wanted.first_day)
    return set(range(first, min(risk.last_day, wanted.last_day) + 1))


def _complete(runs: Iterable[RunStatus], wanted: Wanted, *, option: str) -> Tables:
    """Return tables without a gap, as banks require."""
    ordered = tuple(sorted(runs, key=_age))
    covered = set[int]().union(*(_days(_risk(run), wanted) for run in ordered))
    missing = [day for day in range(min(covered), wanted.last_day + 1) if day not in covered]
    if missing:
        last = next((d for d in missing if d + 1 not in missing), missing[-1])
        raise ConfigurationError(
            f"{option}: {len(missing)} days have no table, the first are {day_text(missing[0])} "
            f"to {day_text(last)}, and every day to {day_text(wanted.last_day)} is looked back to; "
            f"{_advice(wanted, missing[0], last)}"
        )
    entities = tuple(e for e in RiskEntity if all(e in _risk(run).entities for run in ordered))
    if not entities:
        raise ConfigurationError(f"{option}: these runs count nothing in common; choose others")
    return Tables(ordered, entities)


def _advice(wanted: Wanted, first: int | None = None, last: int | None = None) -> str:
    days = "FIRST_DAY" if first is None else day_text(first)
    until = day_text(wanted.last_day if last is None else last)
    command = f"aggregator runs create-risk {days} {until} --delay-days {wanted.delay_days}"
    return f"run '{command}' first"
