"""What the banks of a run compute together, as the machinery around it sees it.

A *work* goes in steps. After each it can be left and resumed, also by another set of banks; its
state between two steps has the same bytes at every bank. Everything else - who takes part, what is
sealed, checkpoints, votes - is the same for every kind of work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from bank_node.config import CohortRules
from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.state.directory import PinnedRun
from fraudfed.communicator import Communicator


class StepState(Protocol):
    """Where a work stands between two steps."""

    @property
    def n_steps(self) -> int:
        """Finished steps."""
        ...

    def to_bytes(self) -> bytes:
        """Return canonical bytes, the same at every bank."""
        ...


S = TypeVar("S", bound=StepState)


class RunStates(Protocol[S]):
    """How the states of a work are read, and handed to other banks."""

    def decode(self, data: bytes) -> S:
        """Read what ``StepState.to_bytes`` has written.

        Raises
        ------
        StateError
            If the bytes are no state of this work.
        """
        ...

    def regrouped(self, state: S, *, more_rows: int) -> S:
        """Return the state from which another set of banks goes on.

        Parameters
        ----------
        more_rows : int
            Rows, at most, of banks that come in now and were never counted.
        """
        ...


@dataclass(frozen=True)
class WorkResult:
    """What a work ends with.

    Attributes
    ----------
    content : bytes
        The result, the same at every bank: what the banks vote on.
    facts : dict
        What the run's record says of it.
    """

    content: bytes
    facts: dict[str, Any]


class RunWork(Protocol[S]):
    """A bank's part in a run, with its data at hand."""

    @property
    def states(self) -> RunStates[S]:
        """How its states are read."""
        ...

    @property
    def data_sha256(self) -> str:
        """Digest of this bank's data: the same whenever the work is resumed."""
        ...

    @property
    def n_rows(self) -> int:
        """Rows that the bounds of later sums must hold; 0 if none depends on them."""
        ...

    def run(
        self, communicator: Communicator, *, start: S | None, on_step: Callable[[S], None]
    ) -> WorkResult:
        """Compute from ``start`` on, None being the beginning; call ``on_step`` behind each step.

        Raises
        ------
        FraudFedError
            If a sum fails, or the data break their contract.
        """
        ...


#: Loads a bank's data once it holds the run's key.
Load: TypeAlias = Callable[[AcceptedEpoch], RunWork[S]]
#: Accepts a run's description under the bank's rules, before anything else is done.
Check: TypeAlias = Callable[[PinnedRun, CohortRules], Load[S]]
