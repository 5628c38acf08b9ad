"""Real communicators of the banks of a live consortium, each in a thread, behind any server."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from attack_kit.sums import BOUND, Outcome
from examples.ledgers import OpenGate
from examples.run_contexts import make_context

from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from bank_node.http.transport import Caller
from bank_node.run.abort import tell_others
from bank_node.run.sums.reveal import RevealGate
from bank_node.run.sums.secure_communicator import SecureCommunicator, StartingPoint
from bank_node.state.audit_log import AuditLog
from bank_node.state.outbox import Outbox
from bank_node.state.round_log import RoundLog
from federations.live import LiveFederation
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import roster_digest
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, RunFailedError
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.wire.messages import MemberKeys

LABEL = "histogram:0"
Result = TypeVar("Result")


def make_communicator(
    name: str,
    client: AggregatorClient,
    *,
    run_id: str,
    package: KeyPackage,
    identity: Identity,
    members: Sequence[MemberKeys],
    work: Path,
    timeout: float,
    gate: RevealGate,
    first_round: int = 0,
    **at: int,
) -> SecureCommunicator:
    """Return a bank's end of the sums of these members, with its outbox in ``work``.

    ``at`` is what a ``StartingPoint`` says of old rounds.
    """
    log = RoundLog(work / f"{name}.rounds")
    # Rounds that are done again are logged again.
    log.read(before_round=0)
    roster = tuple(sorted(member.name for member in members))
    return SecureCommunicator(
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
            package,
            bank=name,
            roster=roster,
            roster_digest=roster_digest(members),
            pairwise={
                peer.name: identity.exchange(peer.agreement_key)
                for peer in members
                if peer.name != name
            },
            signer=identity,
            signing_keys={peer.name: peer.signing_key for peer in members},
        ),
        roster=roster,
        gate=gate,
        start=StartingPoint(
            round_number=first_round,
            step=0,
            transcript=Transcript.begin(package.expose_secret(), b"the run"),
            **at,
        ),
    )


def make_client(name: str, identity: Identity, url: str, work: Path) -> AggregatorClient:
    """Return a bank's way to the aggregator."""
    caller = Caller(name, identity, AuditLog(work / f"{name}.log", identity))
    return AggregatorClient(url, caller=caller, retry=RetryPolicy(patience_seconds=5.0))


class LiveCohort:
    """Banks as threads behind one server, all of the federation or those that are named."""

    def __init__(
        self,
        live: LiveFederation,
        url: str,
        run_id: str,
        work: Path,
        *,
        banks: Sequence[str] | None = None,
        timeout: float = 20.0,
        gate: RevealGate | None = None,
        **at: int,
    ) -> None:
        self.run_id, self.work = run_id, work
        self.communicators: dict[str, SecureCommunicator] = {}
        self.clients: dict[str, AggregatorClient] = {}
        members = [one for one in live.roster if banks is None or one.name in banks]
        for name in sorted(member.name for member in members):
            identity = live[name].identity
            self.clients[name] = make_client(name, identity, url, work)
            self.communicators[name] = make_communicator(
                name,
                self.clients[name],
                run_id=run_id,
                package=live.package,
                identity=identity,
                members=members,
                work=work,
                timeout=timeout,
                gate=OpenGate() if gate is None else gate,
                **at,
            )

    def outbox(self, name: str) -> Path:
        """Return where a bank keeps what it has sealed."""
        return self.work / f"{name}.sealed"

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
