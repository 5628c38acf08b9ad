"""Banks with real state directories, and a proxy between them and the aggregator that lies."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
from proxies.proxy import Exchange, Proxy
from rich.console import Console

from bank_node.approval_rules import ApprovalRules
from bank_node.config import TlsFiles
from bank_node.consortium.ceremony import accept_epoch, create_epoch
from bank_node.consortium.connection import connect
from bank_node.consortium.enrolment import enrol
from bank_node.consortium.members import change_roster, observe_roster, remove_member
from bank_node.jobs.registry import JOBS
from bank_node.run.context import RunOptions
from bank_node.run.lifecycle import take_part
from bank_node.run.progress import RunProgress
from bank_node.run.record import RunRecord
from bank_node.state.directory import StateDirectory
from federations.approval import open_approval
from federations.live import LiveFederation, served
from federations.rules import open_rules
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.consortium.trust import Trust
from fraudfed.errors import FraudFedError
from fraudfed.wire.messages import KeyEpoch, RunKind

BANKS = ("bank-a", "bank-b", "bank-c")
KEY_BITS = 2048


@dataclass
class Place:
    """Where the banks' state directories are, and what stands between them and the aggregator.

    Keys take seconds to make: ``supply`` has one for each key epoch.
    """

    live: LiveFederation
    proxy: Proxy
    work: Path
    supply: Iterator[KeyPackage]
    states: dict[str, Path] = field(default_factory=dict)

    def enrol(self, name: str, **rules: Any) -> StateDirectory:
        invite = self.live.invite(name)
        self.states[name] = self.work / name
        return enrol(
            self.states[name],
            name=name,
            url=self.proxy.url,
            invite=invite,
            passphrase=None,
            source=None,
            rules=open_rules(**rules),
            tls=TlsFiles(),
            approval=open_approval(),
        )

    def accept(
        self, name: str, number: int | None = None, *, without: Sequence[str] = ()
    ) -> KeyEpoch:
        state = StateDirectory(self.states[name])
        with state.locked(), connect(state, None) as connection:
            observed = observe_roster(state, connection.client)
            accepted = accept_epoch(state, connection, observed, number, without=without)
            return accepted.key_epoch

    def make_epoch(self, steward: str, *, rotate: bool, without: Sequence[str] = ()) -> KeyEpoch:
        state = StateDirectory(self.states[steward])
        with (
            state.locked(),
            connect(state, None) as connection,
            mock.patch.object(KeyPackage, "generate", side_effect=lambda bits: next(self.supply)),
        ):
            observed = observe_roster(state, connection.client)
            return create_epoch(
                state, connection, observed, key_bits=KEY_BITS, rotate=rotate, without=without
            ).key_epoch

    def train(self, name: str, run_id: str, **options: Any) -> RunRecord[Any]:
        """Train; every lie here stops the bank long before it would wait for the others."""
        data = self.work / "rows.csv"
        rows = {"f0": [1.0, 2.0, 3.0], "is_fraud": [0, 1, 0], "w": [1.0, 1.0, 1.0]}
        pd.DataFrame(rows).to_csv(data, index=False)
        state = StateDirectory(self.states[name])
        progress = RunProgress(Console(quiet=True), enabled=False)
        chosen = RunOptions(data=data, run_id=run_id, cohort_timeout_seconds=0.5, **options)
        with state.locked(), progress:
            return take_part(state, chosen, RunKind.TRAINING, JOBS, progress)

    def changed_approval(self, name: str, approval: ApprovalRules) -> None:
        state = StateDirectory(self.states[name])
        state.save_config(state.config.model_copy(update={"approval": approval}))

    def changed_rules(self, name: str, **rules: Any) -> None:
        state = StateDirectory(self.states[name])
        changed = state.config.rules.model_copy(update=rules)
        state.save_config(state.config.model_copy(update={"rules": changed}))

    def publishes(self, steward: str, key_epoch: KeyEpoch) -> None:
        """Have a bank announce a key epoch of its own making."""
        state = StateDirectory(self.states[steward])
        with state.locked(), connect(state, None) as connection:
            connection.client.create_epoch(key_epoch)

    def confirmed(self, name: str, *others: str, **owners: str) -> None:
        """Have people at a bank confirm these members, or all; from then on no others count."""
        self.changed_rules(name, insecure_trust_first_use=False)
        state = StateDirectory(self.states[name])

        def confirm(pins: PinnedRoster) -> PinnedRoster:
            chosen = others or tuple(pins.members)
            pins = pins.confirm(pins.members[one] for one in chosen)
            for bank, owner in owners.items():
                pins = pins.own(bank.replace("_", "-"), owner)
            return pins

        with state.locked():
            change_roster(state, confirm)

    def removes(self, signer: str, name: str) -> None:
        """Have people at a bank sign that a member has left."""
        state = StateDirectory(self.states[signer])
        with state.locked(), connect(state, None) as connection:
            remove_member(state, connection.client, connection.identity, name)

    def trust(self, name: str) -> Trust:
        """Return whom a bank counts, after it has asked the aggregator."""
        state = StateDirectory(self.states[name])
        with state.locked(), connect(state, None) as connection:
            return observe_roster(state, connection.client).trust

    def sent_after(self, start: int) -> list[tuple[str, str]]:
        """Return what a bank has sent since then, without plain questions."""
        return [e.route for e in self.proxy.exchanges[start:] if e.method != "GET"]

    def tamper_json(self, ending: str, change: Callable[[Any], Any]) -> None:
        """Change every good JSON answer of an address from now on."""

        def after(exchange: Exchange) -> None:
            good = exchange.method == "GET" and exchange.status == 200
            if good and exchange.route[1].endswith(ending):
                exchange.answer = json.dumps(change(json.loads(exchange.answer))).encode()

        self.proxy.after = after


@contextmanager
def opened(work: Path, packages: Sequence[KeyPackage]) -> Iterator[Place]:
    """Serve the aggregator in ``work`` behind a proxy of its own, for the banks there."""
    with (
        served(work / "aggregator", packages[0]) as live,
        Proxy(live.url) as proxy,
    ):
        place = Place(live, proxy, work, itertools.cycle(packages))
        for name in BANKS:
            if (work / name).exists():
                place.states[name] = work / name
                state = StateDirectory(work / name)
                state.save_config(state.config.model_copy(update={"aggregator": proxy.url}))
        yield place


def found(work: Path, packages: Sequence[KeyPackage]) -> None:
    """Leave three banks in ``work`` that have enrolled and hold the key of epoch 1."""
    with opened(work, packages) as place:
        for name in BANKS:
            place.enrol(name)
        place.make_epoch("bank-a", rotate=False)
        for name in BANKS:
            place.accept(name)


def refused(
    place: Place, error: type[FraudFedError], name: str, run_id: str, **options: Any
) -> str:
    """Assert that the bank stops with ``error`` and has sent nothing; return why."""
    start = len(place.proxy.exchanges)
    with pytest.raises(error) as refusal:
        place.train(name, run_id, **options)
    assert type(refusal.value) is error
    assert place.sent_after(start) == []
    return str(refusal.value)
