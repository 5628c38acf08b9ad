"""Communicators of banks that are registered at a real aggregator, as the program makes them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from examples.ledgers import OpenGate
from examples.run_contexts import make_context

from bank_node.run.sums.secure_communicator import SecureCommunicator, StartingPoint
from bank_node.state.outbox import Outbox
from bank_node.state.round_log import RoundLog
from bank_node.state.round_record import RoundRecord
from federations.bank_states import Member
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import roster_digest
from fraudfed.dtypes import Int64Array
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript

FACTS = b"what every bank was told"


class SummingBanks:
    """Banks as threads, each with a communicator of its own."""

    def __init__(self, aggregator, make_spec, package: KeyPackage, size: int, root: Path) -> None:
        self.aggregator, self.package, self.root = aggregator, package, root
        self.members: list[Member] = aggregator.members(size)
        self.key_epoch = aggregator.active_epoch(package, self.members)
        self.run_id = aggregator.create_run(make_spec(self.key_epoch.epoch))
        self.roster = tuple(member.name for member in self.members)
        for member in self.members:
            member.join(self.run_id, self.key_epoch.epoch)
        self.banks = [self.bank(index) for index in range(size)]

    def bank(self, index: int, **changes) -> SecureCommunicator:
        """Make the communicator of a bank, as the program does when it starts."""
        member = self.members[index]
        session_package = changes.pop("package", self.package)
        session = SecureSum(
            session_package,
            bank=member.name,
            roster=self.roster,
            roster_digest=changes.pop("digest", roster_digest(self.key_epoch.roster)),
            pairwise={
                other.name: member.identity.exchange(other.keys.agreement_key)
                for other in self.members
                if other is not member
            },
            signer=member.identity,
            signing_keys={other.name: other.keys.signing_key for other in self.members},
        )
        facts = changes.pop("facts", FACTS)
        gate = changes.pop("gate", OpenGate())
        private = changes.pop("private", None)
        start = StartingPoint(
            round_number=0,
            step=0,
            transcript=Transcript.begin(session_package.expose_secret(), facts),
            **changes.pop("at", {}),
        )
        known = {
            "key_epoch": changes.pop("epoch", self.key_epoch),
            "outbox": Outbox(self.outbox(index)),
            "log": RoundLog(self.root / f"{member.name}.rounds"),
            "round_timeout_seconds": 20,
            **changes,
        }
        context = make_context(member.name, member.client, run=self.run_id, **known)
        return SecureCommunicator(
            context, session, roster=self.roster, start=start, gate=gate, private=private
        )

    def outbox(self, index: int) -> Path:
        return self.root / f"{self.members[index].name}.sealed"

    def records(self, index: int) -> list[RoundRecord]:
        """Return what is on record of a bank's rounds."""
        log = RoundLog(self.root / f"{self.members[index].name}.rounds")
        return [one.record for one in log.read(before_round=99)]

    def each(self, work: Callable[[int, SecureCommunicator], Int64Array]) -> list[Int64Array]:
        with ThreadPoolExecutor(len(self.banks)) as pool:
            return list(pool.map(work, range(len(self.banks)), self.banks))


def sent_bodies(cohort: SummingBanks, index: int, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the frames that a bank sends from now on."""
    client, found = cohort.members[index].client, []
    for name in ("contribute", "send_opening"):
        original = getattr(client, name)

        def watched(frame: bytes, *, wait_seconds: float, original=original):
            found.append(frame)
            return original(frame, wait_seconds=wait_seconds)

        monkeypatch.setattr(client, name, watched)
    return found
