"""What the jobs have in common that sum everything in one step: statistics and monitor runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bank_node.run.job import Outcome, StepState
from bank_node.run.progress import RunProgress
from bank_node.run.record import RunResult
from fraudfed.communicator import Communicator

S = TypeVar("S", bound=StepState)
R = TypeVar("R", bound=RunResult)


@dataclass(frozen=True, eq=False, kw_only=True)
class OneStepWork(ABC, Generic[S, R]):
    """A bank's part in a run of one step; see ``bank_node.run.job.Work``.

    Attributes
    ----------
    row_keys : tuple of str
        The ledger's keys of the file.
    progress : RunProgress
    """

    row_keys: tuple[str, ...]
    progress: RunProgress

    @abstractmethod
    def add_up(self, communicator: Communicator) -> S:
        """Sum what this bank enters with the others."""

    @abstractmethod
    def result(self, pooled: S) -> R:
        """Return what the record says of the sums."""

    @property
    def n_rows(self) -> int:
        """0: the first sum announces the totals that bound the others."""
        return 0

    def sources(self, step: int | None) -> tuple[str, ...]:
        """Return the keys of the file: every sum is over its rows."""
        del step
        return self.row_keys

    def regroup(self, state: S, *, more_rows: int) -> S:
        """Return the sums as they are: the one step is finished."""
        del more_rows
        return state

    def run(
        self, communicator: Communicator, *, start: S | None, on_step: Callable[[S], None]
    ) -> Outcome[R]:
        """Sum everything, in one step; raises as ``add_up``."""
        if start is None:
            self.progress.steps("sums", 0, 1, "")
            start = self.add_up(communicator)
            on_step(start)
        self.progress.steps("sums", 1, 1, "")
        return Outcome(start.to_bytes(), self.result(start))
