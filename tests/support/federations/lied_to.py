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

from bank_node.config import CohortRules, TlsFiles
from bank_node.consortium.ceremony import accept_epoch, create_epoch
from bank_node.consortium.connection import connect
from bank_node.consortium.enrolment import enrol
from bank_node.consortium.members import observe_roster
from bank_node.jobs.registry import JOBS
from bank_node.run.context import RunOptions
from bank_node.run.lifecycle import take_part
from bank_node.run.progress import RunProgress
from bank_node.run.record import RunRecord
from bank_node.state.directory import StateDirectory
from federations.live import LiveFederation, served
from fraudfed.consortium.key_package import KeyPackage
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

    def enrol(self, name: str) -> StateDirectory:
        invite = self.live.invite(name)
        self.states[name] = self.work / name
        return enrol(
            self.states[name],
            name=name,
            url=self.proxy.url,
            invite=invite,
            passphrase=None,
            source=None,
            rules=CohortRules(),
            tls=TlsFiles(),
        )

    def accept(self, name: str, number: int | None = None) -> KeyEpoch:
        state = StateDirectory(self.states[name])
        with state.locked(), connect(state, None) as connection:
            observed = observe_roster(state, connection.client)
            return accept_epoch(state, connection, observed, number).key_epoch

    def make_epoch(self, steward: str, *, rotate: bool) -> KeyEpoch:
        state = StateDirectory(self.states[steward])
        with (
            state.locked(),
            connect(state, None) as connection,
            mock.patch.object(KeyPackage, "generate", side_effect=lambda bits: next(self.supply)),
        ):
            observed = observe_roster(state, connection.client)
            return create_epoch(
                state, connection, observed, key_bits=KEY_BITS, rotate=rotate
            ).key_epoch

    def train(self, name: str, run_id: str, **options: Any) -> RunRecord[Any]:
        """Train; every lie here stops the bank long before it would wait for the others."""
        data = self.work / "rows.csv"
        pd.DataFrame({"f0": [1.0, 2.0, 3.0], "is_fraud": [0, 1, 0]}).to_csv(data, index=False)
        state = StateDirectory(self.states[name])
        progress = RunProgress(Console(quiet=True), enabled=False)
        chosen = RunOptions(data=data, run_id=run_id, cohort_timeout_seconds=0.5, **options)
        with state.locked(), progress:
            return take_part(state, chosen, RunKind.TRAINING, JOBS, progress)

    def changed_rules(self, name: str, **rules: Any) -> None:
        state = StateDirectory(self.states[name])
        changed = state.config.rules.model_copy(update=rules)
        state.save_config(state.config.model_copy(update={"rules": changed}))

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
