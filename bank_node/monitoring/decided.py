"""Watch what a service decided: the log of decisions, with what became of them, as rows.

The model under watch is the one that scored last, or the one that is named. The log is read twice:
once for its times and models, once for its payments, so that it need not fit into memory.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from bank_node.decisions.decision import Decision
from bank_node.monitoring.report import Outcomes
from bank_node.monitoring.window import USUAL_REFERENCE_WEEKS, Asked, chosen_weeks
from bank_node.serving.decided_rows import FraudOf, watched_decisions
from bank_node.serving.ladder import Step
from fraudfed.boosting.model import Model
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.evaluation.drift.cells import watched_features
from fraudfed.evaluation.drift.outcomes import WeeklyOutcomes, delay_of
from fraudfed.evaluation.drift.rows import MOST_WEEKS, WEEK
from fraudfed.evaluation.drift.watch import Watch
from fraudfed.evaluation.reporting_delay import reporting_delay
from fraudfed.wire.messages import DataContract

_END: Final = 1 << 40
_ADVICE: Final = "wait until the log holds them, or watch a file that does (--data)"


@dataclass(frozen=True, eq=False)
class DecidingModel:
    """A model that decided.

    Attributes
    ----------
    run_id : str
    contract : DataContract
    model : Model
    """

    run_id: str
    contract: DataContract
    model: Model


@dataclass(frozen=True, kw_only=True, eq=False)
class WatchedLog:
    """What was counted of a log.

    Attributes
    ----------
    watch : Watch
    outcomes : Outcomes
    model : DecidingModel
        The one under watch.
    sha256 : str
        Its digest.
    scored_since : int
        The first payment of the weeks that it decided about, UTC epoch seconds.
    """

    watch: Watch
    outcomes: Outcomes
    model: DecidingModel
    sha256: str
    scored_since: int


@dataclass(frozen=True)
class _Extent:
    """First and last payment, UTC epoch seconds."""

    first: int
    last: int

    def with_(self, time: int) -> "_Extent":
        return _Extent(min(self.first, time), max(self.last, time))


def watch_log(
    read: Callable[[int, int], Iterable[Decision]],
    fraud_of: FraudOf,
    model_of: Callable[[str], DecidingModel | None],
    *,
    watched: str | None,
    as_of: int,
    asked: Asked,
    source: str,
) -> WatchedLog:
    """Count a log's payments.

    Parameters
    ----------
    read : callable
        Returns the decisions made from a time until before another, UTC epoch seconds.
    fraud_of : callable
        What is known of a transaction at ``as_of``.
    model_of : callable
        Finds a model by its digest; None if this bank does not hold it.
    watched : str or None
        Digest of the model under watch. None: the one that scored last.
    as_of : int
        Now, UTC epoch seconds.
    asked : Asked
        The reference ends where the week under watch begins if nothing else is
        said: no payment of a log is one that the model was trained on.
    source : str
        Names the log in errors.

    Raises
    ------
    DataError
        If no payment was scored, or the log does not cover the weeks.
    ConfigurationError
        If this bank does not hold the model, or it decided nothing.
    StateError
        If bins are damaged.
    """
    reach = asked.reference_weeks or USUAL_REFERENCE_WEEKS
    if asked.reference_until is not None:
        reach = MOST_WEEKS
    # One week is under watch, and part of another may be beyond its end.
    begin = (as_of if asked.until is None else asked.until) - (reach + 2) * WEEK
    whole, by_model, latest = _extents(read(begin, _END), begin)
    sha256 = watched or latest
    if whole is None or sha256 is None:
        raise DataError(
            f"{source}: a whole model has scored no payment since the weeks that are to be "
            "compared; start 'bank-node serve', or watch a file (--data)"
        )
    found = model_of(sha256)
    if found is None:
        raise ConfigurationError(
            f"{source}: model {sha256} decided, and this bank does not hold it, expected one of "
            "'bank-node models list'; name another with --run, or watch a file (--data)"
        )
    if sha256 not in by_model:
        raise ConfigurationError(
            f"{source}: model {sha256} of run {found.run_id} has scored none of its payments; name "
            "the run of one that did with --run, or watch a file (--data)"
        )
    models, comparable_from = _comparable(by_model, sha256, found, model_of)
    weeks = chosen_weeks(
        np.array([max(whole.first, comparable_from), whole.last], dtype=np.int64),
        asked,
        trained=None,
        source=source,
        advice=_ADVICE,
    )
    watch = Watch(weeks, watched_features(found.contract))
    counted = WeeklyOutcomes(weeks.start, weeks.n_weeks)
    frauds, scored_since = [np.empty((2, 0), dtype=np.int64)], weeks.stop
    for rows, decided in watched_decisions(
        read(begin, _END), fraud_of, watched=sha256, models=models
    ):
        watch.update(rows)
        counted.update(decided)
        frauds.append(delay_of(decided, as_of=as_of))
        own = rows.event_time[~np.isnan(rows.margins) & (rows.event_time >= weeks.start)]
        scored_since = min(scored_since, int(own.min()) if own.size else scored_since)
    delay = reporting_delay(*np.concatenate(frauds, axis=1), end=as_of)
    return WatchedLog(
        watch=watch,
        outcomes=Outcomes(weeks=counted.weeks(delay, as_of=as_of), as_of=as_of, delay=delay),
        model=found,
        sha256=sha256,
        scored_since=scored_since,
    )


def _extents(
    decisions: Iterable[Decision], begin: int
) -> tuple[_Extent | None, dict[str, _Extent], str | None]:
    """Return when there were payments, by which whole models, and the model of the last one."""
    whole: _Extent | None = None
    by_model: dict[str, _Extent] = {}
    latest: tuple[int, str] | None = None
    for each in decisions:
        if each.event_time < begin:
            continue
        at = each.event_time
        whole = _Extent(at, at) if whole is None else whole.with_(at)
        if each.step != Step.FULL or each.model_sha256 is None:
            continue
        sha256 = each.model_sha256
        by_model[sha256] = by_model.get(sha256, _Extent(at, at)).with_(at)
        if latest is None or each.decided_at >= latest[0]:
            latest = each.decided_at, sha256
    return whole, by_model, None if latest is None else latest[1]


def _comparable(
    by_model: Mapping[str, _Extent],
    sha256: str,
    found: DecidingModel,
    model_of: Callable[[str], DecidingModel | None],
) -> tuple[dict[str, Model], int]:
    """Return the models of the same features, and the time after all others."""
    models, start = {sha256: found.model}, 0
    for other, extent in by_model.items():
        if other == sha256:
            continue
        held = model_of(other)
        if held is not None and held.contract.features == found.contract.features:
            models[other] = held.model
        else:
            start = max(start, extent.last + 1)
    return models, start
