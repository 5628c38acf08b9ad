"""What a bank knows of a run while it takes part: fixed once everything was checked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bank_node.config import CohortRules
from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.consortium.connection import Connection
from bank_node.http.client import AggregatorClient
from bank_node.run.progress import RunProgress
from bank_node.state.agreement import Agreements
from bank_node.state.checkpoints import Checkpoints
from bank_node.state.directory import StateDirectory
from bank_node.state.ledger import Ledger
from bank_node.state.outbox import Outbox
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.privacy_ledger import PrivacyLedger
from bank_node.state.round_log import RoundLog
from fraudfed.consortium.trust import Trust
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.reading.location import Location

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class RunOptions:
    """What the command line says.

    Attributes
    ----------
    data : Location
    mapping : Mapping or None
        How the columns of ``data`` become those that the run wants.
    run_id : str or None
        None takes the only run that is open to this bank.
    round_timeout_seconds : float or None
        Limit of the wait for other banks within a round; None waits as long as the run does.
    cohort_timeout_seconds : float or None
        Limit of the wait for the cohort; None waits without limit.
    threads : int
        Cores that this bank's work may use at once; no result depends on it.
    cluster : distributed.Client or None
        The Dask cluster that the rows are worked on; None is this machine. No result depends on it.
    memory_limit : int or None
        Bytes above which rows stay on disk; None keeps them in memory. No result depends on it.
    """

    data: Location
    mapping: Mapping | None = None
    run_id: str | None = None
    round_timeout_seconds: float | None = None
    cohort_timeout_seconds: float | None = None
    threads: int = 1
    cluster: "Client | None" = None
    memory_limit: int | None = None


@dataclass(frozen=True)
class RunContext:
    """A run at one bank, checked against the bank's rules, pins and keys.

    Attributes
    ----------
    state : StateDirectory
        Locked by this process.
    connection : Connection
    run : PinnedRun
        The run's description, accepted and pinned.
    epoch : AcceptedEpoch
        The run's key epoch and its key.
    rules : CohortRules
        This bank's.
    trust : Trust
        With whom this bank computes, and with how many of them.
    options : RunOptions
    progress : RunProgress
    agreements : Agreements
        What this bank agreed to last.
    checkpoints : Checkpoints
    ledger : Ledger
        With which banks this bank has revealed sums, over all runs.
    outbox : Outbox
        What this bank has sealed in the run.
    log : RoundLog
        What protected each round, over the whole run.
    privacy_ledger : PrivacyLedger or None
        What noised sums have told of this bank's rows; None in a run without privacy terms.
    """

    state: StateDirectory
    connection: Connection
    run: PinnedRun
    epoch: AcceptedEpoch
    rules: CohortRules
    trust: Trust
    options: RunOptions
    progress: RunProgress
    agreements: Agreements
    checkpoints: Checkpoints
    ledger: Ledger
    outbox: Outbox
    log: RoundLog
    privacy_ledger: PrivacyLedger | None = None

    @property
    def run_id(self) -> str:
        """The run's."""
        return self.run.run_id

    @property
    def bank(self) -> str:
        """Name of this bank."""
        return self.state.config.name

    @property
    def client(self) -> AggregatorClient:
        """The way to the aggregator."""
        return self.connection.client

    def forget_sealed(self) -> None:
        """Erase what was sealed in finished steps, or for a set of banks that is given up.

        What was set aside for sums that this bank has not revealed by then is given back: with the
        seeds of their masks erased, nobody ever opens them.

        Raises
        ------
        StateError
            If outbox or privacy ledger cannot be written.
        """
        self.outbox.forget_payloads()
        if self.privacy_ledger is not None:
            self.privacy_ledger.release_unrevealed(self.run_id)
