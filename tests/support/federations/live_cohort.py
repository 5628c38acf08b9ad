"""Real communicators of the banks of a live consortium, each in a thread, behind any server."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from attack_kit.sums import BOUND, Outcome
from examples.run_contexts import make_context

from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from bank_node.http.transport import Caller
from bank_node.run.abort import tell_others
from bank_node.run.sums.reveal import InsecureRevealToAnySet
from bank_node.run.sums.secure_communicator import SecureCommunicator, StartingPoint
from bank_node.state.audit_log import AuditLog
from bank_node.state.outbox import Outbox
from bank_node.state.round_log import RoundLog
from federations.live import LiveFederation
from fraudfed.consortium.public.documents import roster_digest
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, RunFailedError
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript

LABEL = "histogram:0"
Result = TypeVar("Result")


class LiveCohort:
    """Banks as threads behind one server; ``at`` is what a ``StartingPoint`` says of old rounds."""

    def __init__(
        self,
        live: LiveFederation,
        url: str,
        run_id: str,
        work: Path,
        *,
        timeout: float = 20.0,
        **at: int,
    ) -> None:
        self.run_id = run_id
        self.communicators: dict[str, SecureCommunicator] = {}
        self.clients: dict[str, AggregatorClient] = {}
        roster = tuple(sorted(bank.name for bank in live.banks))
        for name in roster:
            identity = live[name].identity
            log = RoundLog(work / f"{name}.rounds")
            # Rounds that are done again are logged again.
            log.read(before_round=0)
            caller = Caller(name, identity, AuditLog(work / f"{name}.log", identity))
            client = AggregatorClient(url, caller=caller, retry=RetryPolicy(patience_seconds=5.0))
            self.clients[name] = client
            self.communicators[name] = SecureCommunicator(
                make_context(
                    name,
                    client,
                    run=run_id,
                    key_epoch=1,
                    outbox=Outbox(work / f"{name}.sealed"),
                    log=log,
                    round_timeout_seconds=timeout,
                ),
                SecureSum(
                    live.package,
                    bank=name,
                    roster=roster,
                    roster_digest=roster_digest(live.roster),
                    pairwise={
                        peer.name: identity.exchange(peer.agreement_key)
                        for peer in live.roster
                        if peer.name != name
                    },
                    signer=identity,
                    signing_keys={peer.name: peer.signing_key for peer in live.roster},
                ),
                roster=roster,
                gate=InsecureRevealToAnySet(),
                start=StartingPoint(
                    round_number=0,
                    step=0,
                    transcript=Transcript.begin(live.package.expose_secret(), b"the run"),
                    **at,
                ),
            )

    def each(self, work: Callable[[str, SecureCommunicator], Result]) -> dict[str, Result]:
        """Do the same at every bank at the same time."""
        names = list(self.communicators)
        with ThreadPoolExecutor(len(names)) as pool:
            found = pool.map(lambda name: work(name, self.communicators[name]), names)
            return dict(zip(names, found, strict=True))

    def sum(self, parts: Sequence[Int64Array], *, tell: bool = True) -> dict[str, Outcome]:
        """Have every bank sum its part; return what each ends with."""
        own = dict(zip(self.communicators, parts, strict=True))

        def work(name: str, communicator: SecureCommunicator) -> Outcome:
            try:
                return communicator.sum(own[name], bound=BOUND, label=LABEL)
            except FraudFedError as error:
                if tell and not isinstance(error, RunFailedError):
                    tell_others(self.clients[name], self.run_id, error)
                return error

        return self.each(work)

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
