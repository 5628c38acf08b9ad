"""What the banks of a run compute together, as the machinery around it sees it.

A job goes in steps. After each step a bank can leave the work and continue it later, also with
another set of banks; the state between two steps has the same bytes at every bank. Everything else
is the same for every kind of run: who takes part, what is sealed, checkpoints, votes, the record.

A new kind of run is a value of ``RunKind``, a module in ``bank_node.jobs`` that implements ``Job``
and ``Work``, and an entry in ``bank_node.jobs.registry``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from bank_node.approval.facts import RunFacts
from bank_node.approval.findings import Finding
from bank_node.approval_rules import ApprovalRules
from bank_node.config import CohortRules
from bank_node.run.context import RunContext
from bank_node.run.record import R, RunRecord
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.communicator import Communicator
from fraudfed.wire.messages import RunKind


class StepState(Protocol):
    """Where the work stands between two steps."""

    @property
    def n_steps(self) -> int:
        """Finished steps."""
        ...

    def to_bytes(self) -> bytes:
        """Return canonical bytes, the same at every bank."""
        ...


S = TypeVar("S", bound=StepState)


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What the work ends with.

    Attributes
    ----------
    content : bytes
        The result, the same at every bank: what the banks vote on.
    result : RunResult
        What this bank's record says of it.
    """

    content: bytes
    result: R


class Work(Protocol[S, R]):
    """A bank's part in one run, with its data at hand."""

    @property
    def data_sha256(self) -> str:
        """Digest of this bank's data: the same whenever the bank continues the work."""
        ...

    @property
    def n_rows(self) -> int:
        """Rows that the bounds of later sums must hold; 0 if none depends on them."""
        ...

    def sources(self, step: int | None) -> Sequence[str]:
        """Return the ledger's keys of what the sums of a step are about.

        Nothing that the operator chooses may change a key.

        Parameters
        ----------
        step : int or None
            Counted as ``StepState.n_steps``: 0 is the first. None: of any step of the run.
        """
        ...

    def decode(self, data: bytes) -> S:
        """Read what ``StepState.to_bytes`` has written.

        Raises
        ------
        StateError
            If the bytes are no state of this work.
        """
        ...

    def regroup(self, state: S, *, more_rows: int) -> S:
        """Return the state from which another set of banks continues.

        Parameters
        ----------
        more_rows : int
            Upper bound of the rows of banks that come in now and were never counted.
        """
        ...

    def run(
        self, communicator: Communicator, *, start: S | None, on_step: Callable[[S], None]
    ) -> Outcome[R]:
        """Compute from ``start`` to the end, and call ``on_step`` after each step.

        Parameters
        ----------
        start : state of the work, or None
            None is the beginning.

        Raises
        ------
        FraudFedError
            If a sum fails, or the data break their contract.
        """
        ...


class Job(Protocol[S, R]):
    """A kind of run, as a bank takes part in it."""

    @property
    def kind(self) -> RunKind:
        """The kind of run."""
        ...

    @property
    def command(self) -> str:
        """The command of ``bank-node`` that takes part in such a run."""
        ...

    @property
    def record_type(self) -> type[RunRecord[R]]:
        """Type of the record of such a run."""
        ...

    def accept(self, run: PinnedRun, rules: CohortRules, state: StateDirectory) -> None:
        """Accept a run's description under this bank's rules, before anything else is done.

        Raises
        ------
        FraudFedError
            If this bank does not take part in such a run.
        """
        ...

    def weigh(self, run: PinnedRun, approval: ApprovalRules) -> tuple[Finding, ...]:
        """Return what ``[approval]`` of ``bank.toml`` says to each thing that a run asks for.

        Raises
        ------
        FraudFedError
            If the description cannot be read.
        """
        ...

    def facts(self, run: PinnedRun, *, key_bits: int) -> RunFacts:
        """Return what a person is shown of a run before approving it."""
        ...

    def load(self, context: RunContext) -> Work[S, R]:
        """Read this bank's data for an accepted and approved run.

        Whatever could fail in the run for what this bank's own data hold fails here, before any
        other bank waits for it.

        Raises
        ------
        FraudFedError
            If the data cannot be read, or break their contract.
        """
        ...

    def describe(self, run: PinnedRun, content: bytes) -> R:
        """Return what a result itself says, for the record of a bank that did not compute it.

        Raises
        ------
        StateError
            If the result cannot be read.
        """
        ...

    def files(
        self, context: RunContext, content: bytes, *, registry_sha256: str
    ) -> Mapping[str, bytes]:
        """Return the files, by name, in which this bank keeps an accepted result.

        Parameters
        ----------
        content : bytes
            The plain result, as the banks have signed it.
        registry_sha256 : str
            Of the result as it is registered.

        Raises
        ------
        StateError
            If the result cannot be read.
        """
        ...


#: The job of each kind of run.
Jobs: TypeAlias = Mapping[RunKind, Job[Any, Any]]
