"""The kinds of run that this program takes part in."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from bank_node.run.job import Job, Jobs
from fraudfed.machine.importing import without_collections
from fraudfed.wire.messages import RunKind

_AnyJob: TypeAlias = Job[Any, Any]


def _training() -> _AnyJob:
    from bank_node.jobs.training import TrainingJob

    return TrainingJob()


def _risk() -> _AnyJob:
    from bank_node.jobs.risk.run import RiskJob

    return RiskJob()


def _statistics() -> _AnyJob:
    from bank_node.jobs.statistics import StatisticsJob

    return StatisticsJob()


def _search() -> _AnyJob:
    from bank_node.jobs.search import SearchJob

    return SearchJob()


def _monitor() -> _AnyJob:
    from bank_node.jobs.monitor import MonitorJob

    return MonitorJob()


_MAKERS: dict[RunKind, Callable[[], _AnyJob]] = {
    RunKind.TRAINING: _training,
    RunKind.RISK: _risk,
    RunKind.STATISTICS: _statistics,
    RunKind.SEARCH: _search,
    RunKind.MONITOR: _monitor,
}


class _JobsOnDemand(Mapping[RunKind, _AnyJob]):
    """Each job is imported when it is first asked for.

    Of the others, one that scores takes two seconds: half of what a training needs to begin.
    """

    def __getitem__(self, kind: RunKind) -> _AnyJob:
        return _made(kind)

    def __iter__(self) -> Iterator[RunKind]:
        return iter(_MAKERS)

    def __len__(self) -> int:
        return len(_MAKERS)


@cache
def _made(kind: RunKind) -> _AnyJob:
    with without_collections():
        return _MAKERS[kind]()


JOBS: Jobs = _JobsOnDemand()
