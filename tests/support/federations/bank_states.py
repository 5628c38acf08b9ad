"""A running aggregator as its operator sees it, and banks that are members of it."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bank_node.config import TlsFiles
from bank_node.consortium.ceremony import accept_epoch
from bank_node.consortium.connection import connect
from bank_node.consortium.enrolment import enrol
from bank_node.consortium.members import observe_roster
from bank_node.http.client import AggregatorClient
from bank_node.http.transport import Caller
from bank_node.state.audit_log import AuditLog
from bank_node.state.directory import StateDirectory
from federations.approval import open_approval
from federations.bank_process import BankProcess, start_bank
from federations.rules import open_rules
from federations.server_process import ServerProcess, run_command
from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import acknowledge, seal_key_package
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.generations import sign_ephemeral_key
from fraudfed.wire.messages import (
    BankRegistration,
    DataContract,
    Invite,
    InviteRequest,
    Join,
    KeyEpoch,
    MemberKeys,
    Message,
    Roster,
    RunCreated,
    RunSpec,
    RunStatus,
    parse,
)


def joining(identity: Identity, name: str, run_id: str, epoch: int) -> Join:
    """Return what a bank joins a run with."""
    key = EphemeralKey.generate(b"").public
    signature = sign_ephemeral_key(
        identity, run_id=run_id, epoch=epoch, generation=0, bank=name, key=key
    )
    return Join(key=key, signature=signature)


@dataclass(frozen=True)
class Member:
    """A bank without a state directory, for tests that call Python directly."""

    name: str
    identity: Identity
    client: AggregatorClient

    @property
    def keys(self) -> MemberKeys:
        return self.identity.member(self.name)

    def join(self, run_id: str, epoch: int) -> None:
        """Join a run; the key is forgotten, so no ``Generations`` can continue from here."""
        self.client.join(run_id, joining(self.identity, self.name, run_id, epoch))


@dataclass(frozen=True)
class Aggregator:
    """A running ``aggregator serve``. It knows one consortium: tests empty it before they begin."""

    url: str
    operator_token: str
    scratch: Path
    clients: list[AggregatorClient] = field(default_factory=list)

    def operator(self, method: str, path: str, body: Message | None = None) -> bytes:
        answer = httpx.request(
            method,
            self.url + path,
            content=None if body is None else body.model_dump_json(),
            headers={
                "Authorization": f"Bearer {self.operator_token}",
                "Content-Type": "application/json",
            },
            trust_env=False,
        )
        assert answer.is_success, answer.text
        return answer.content

    def invite(self, name: str, valid_seconds: int = 3600) -> str:
        body = InviteRequest(name=name, valid_seconds=valid_seconds)
        return parse(Invite, self.operator("POST", "/v1/invites", body), source="test").code

    def remove(self, name: str) -> None:
        self.operator("DELETE", f"/v1/banks/{name}")

    def empty(self) -> None:
        """Remove every member, so that the next ones are a consortium of their own."""
        for member in parse(Roster, self.operator("GET", "/v1/roster"), source="test").members:
            self.remove(member.name)

    def create_run(self, spec: RunSpec) -> str:
        return parse(RunCreated, self.operator("POST", "/v1/runs", spec), source="test").run_id

    def status(self, run_id: str) -> RunStatus:
        return parse(RunStatus, self.operator("GET", f"/v1/runs/{run_id}"), source="test")

    def member(self, name: str, identity: Identity | None = None) -> Member:
        """Make an invited bank a member."""
        identity = Identity.generate() if identity is None else identity
        log = AuditLog(self.scratch / f"{uuid.uuid4().hex}.log", identity)
        client = AggregatorClient(self.url, caller=Caller(name, identity, log))
        self.clients.append(client)
        announced = identity.member(name)
        client.register(
            BankRegistration(
                name=name,
                invite=self.invite(name),
                signing_key=announced.signing_key,
                agreement_key=announced.agreement_key,
            )
        )
        return Member(name, identity, client)

    def members(self, size: int) -> list[Member]:
        """Make a consortium of ``size`` banks and no others."""
        self.empty()
        tag = uuid.uuid4().hex[:8]
        return [self.member(f"bank-{tag}-{i}") for i in range(size)]

    def publish_epoch(
        self,
        package: KeyPackage,
        steward: Identity,
        name: str,
        client: AggregatorClient,
        roster: tuple[MemberKeys, ...],
    ) -> KeyEpoch:
        """Publish the next key epoch with a key that is made already."""
        key_epoch = seal_key_package(
            package, epoch=self.last_epoch() + 1, steward=steward, steward_name=name, roster=roster
        )
        client.create_epoch(key_epoch)
        return key_epoch

    def last_epoch(self) -> int:
        """Return the number of the latest key epoch, of any steward; 0 before the first."""
        answer = httpx.get(
            f"{self.url}/v1/epochs/current",
            headers={"Authorization": f"Bearer {self.operator_token}"},
            trust_env=False,
        )
        return answer.json()["key_epoch"]["epoch"] if answer.is_success else 0

    def active_epoch(self, package: KeyPackage, members: list[Member]) -> KeyEpoch:
        """Publish a key epoch of members without state directories; all acknowledge it."""
        first = members[0]
        roster = tuple(sorted((member.keys for member in members), key=lambda keys: keys.name))
        key_epoch = self.publish_epoch(package, first.identity, first.name, first.client, roster)
        for member in members:
            member.client.acknowledge(acknowledge(key_epoch, member.identity, member.name))
        return key_epoch

    def enrol(self, path: Path, name: str, **changes: Any) -> StateDirectory:
        """Make a bank with a state directory a member."""
        settings: dict[str, Any] = {
            "passphrase": None,
            "source": None,
            "rules": open_rules(),
            "tls": TlsFiles(),
            "approval": open_approval(),
            **changes,
        }
        return enrol(path, name=name, url=self.url, invite=self.invite(name), **settings)


@contextmanager
def serving(root: Path, scratch: Path, *options: str) -> Iterator[Aggregator]:
    """Serve an aggregator with these options until the block ends."""
    state = root / "state"
    run_command("init", "--state", str(state))
    with ServerProcess(state, group_options=("--quiet",), options=options) as server:
        found = Aggregator(server.url, (state / "operator.token").read_text().strip(), scratch)
        yield found
        for client in found.clients:
            client.close()
        server.stop()


class Banks:
    """State directories of the members of one run, with an active key epoch."""

    def __init__(
        self, root: Path, aggregator: Aggregator, package: KeyPackage, n_banks: int = 3
    ) -> None:
        self.root, self.aggregator = root, aggregator
        self.run_id = ""
        self.contract: DataContract | None = None
        tag = uuid.uuid4().hex[:8]
        self.names = [f"{letter}-{tag}" for letter in "abcdef"[:n_banks]]
        aggregator.empty()
        for name in self.names:
            aggregator.enrol(self.state(name), name)
        self.key_epoch = self._ceremony(package)

    def _ceremony(self, package: KeyPackage) -> KeyEpoch:
        """As the commands do it, with a key that is made already."""
        steward = StateDirectory(self.state(self.names[0]))
        with steward.locked(), connect(steward, None) as connection:
            observed = observe_roster(steward, connection.client)
            key_epoch = self.aggregator.publish_epoch(
                package, connection.identity, self.names[0], connection.client, observed.members
            )
        for name in self.names:
            bank = StateDirectory(self.state(name))
            with bank.locked(), connect(bank, None) as connection:
                epoch = accept_epoch(bank, connection, observe_roster(bank, connection.client))
        assert epoch.active
        return key_epoch

    def join(self, *names: str) -> None:
        """Make banks members of the run that never do their part; their keys are forgotten."""
        for name in names:
            with connect(StateDirectory(self.state(name)), None) as connection:
                body = joining(connection.identity, name, self.run_id, self.key_epoch.epoch)
                connection.client.join(self.run_id, body)

    def allow_set_changes(self, count: int) -> None:
        """Write a rule into the ``bank.toml`` of all banks, none of which runs."""
        for name in self.names:
            bank = StateDirectory(self.state(name))
            rules = bank.config.rules.model_copy(update={"set_changes": count})
            with bank.locked():
                bank.save_config(bank.config.model_copy(update={"rules": rules}))

    def state(self, name: str) -> Path:
        return self.root / name

    def train(self, name: str, data: Path, *options: str) -> BankProcess:
        return start_bank(
            *("--quiet", "--log-format", "json", "train"),
            *("--state", self.state(name), "--data", data, "--run", self.run_id, *options),
        )

    def record(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.state(name) / "runs" / self.run_id / "record.json").read_text()
        )
        return found
