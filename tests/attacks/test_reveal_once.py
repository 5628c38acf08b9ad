"""A bank reveals once, on a record that is on its disk, and only if it may: gate, disk, kill -9.

Real communicators with real outboxes, over HTTP; where one is killed, as a process of its own.
"""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from attack_kit.liar import (
    BANKS,
    VICTIM,
    Liar,
    assert_sum,
    contributed,
    held,
    parts_of,
)
from attack_kit.sums import Outcome
from federations.live import LiveFederation
from federations.live_cohort import LiveCohort
from proxies.proxy import Exchange

import fraudfed.secure_sum.session as session_module
from bank_node.state.outbox import Outbox
from fraudfed.errors import (
    CohortError,
    StateError,
)

Patch = pytest.MonkeyPatch


# The gate, the disk, and a forgotten seed


class Shut:
    """A gate that lets nothing through."""

    def __init__(self) -> None:
        self.asked = 0

    def require(self) -> None:
        self.asked += 1
        raise CohortError("this bank does not reveal to these banks")


def test_no_box_leaves_or_is_written_down_before_the_gate(
    live: LiveFederation, liar: Liar, tmp_path: Path
) -> None:
    gate = Shut()
    cohort = LiveCohort(live, liar.proxy.url, live.start_run(1), tmp_path, gate=gate)
    outcomes = cohort.sum(parts_of(1), tell=False)
    cohort.close()
    assert {type(outcome) for outcome in outcomes.values()} == {CohortError}
    assert (gate.asked, liar.boxes) == (len(BANKS), 0)
    for bank in BANKS:
        (kept,) = held(cohort, bank)
        assert (kept.opening, kept.commitments) == (None, None)
        assert kept.seed is not None


def test_control_a_gate_that_is_not_asked_lets_every_box_leave(
    live: LiveFederation, liar: Liar, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Shut, "require", lambda self: None)
    cohort = LiveCohort(live, liar.proxy.url, live.start_run(1), tmp_path, gate=Shut())
    assert_sum(cohort.sum(parts_of(1)), 1)
    cohort.close()
    assert liar.boxes == len(BANKS)


def lost_before_the_product(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, what: Callable[[Path], None]
) -> dict[str, Outcome]:
    """Let all banks contribute, do something to their outboxes, then give them the product."""
    liar.withholds = True
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cohort.sum, parts_of(1), tell=False)
        contributed(live, cohort.run_id, len(BANKS))
        for bank in BANKS:
            what(cohort.outbox(bank))
        liar.withholds = False
        return waiting.result(timeout=60)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_a_box_that_cannot_be_written_down_is_not_sent(
    live: LiveFederation, liar: Liar, cohort: LiveCohort
) -> None:
    outcomes = lost_before_the_product(live, liar, cohort, cut_short)
    assert {type(outcome) for outcome in outcomes.values()} == {StateError}
    assert liar.boxes == 0


def test_control_a_box_that_is_sent_first_has_left_without_a_trace(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Outbox, "keep_opening", lambda *_, **__: None)
    lost_before_the_product(live, liar, cohort, cut_short)
    assert liar.boxes == len(BANKS)


def offered_later(
    live: LiveFederation, liar: Liar, run_id: str, work: Path, monkeypatch: Patch
) -> dict[str, Outcome]:
    """Let the banks seal, forget as they do when they agree to another set, and be offered it."""
    first = LiveCohort(live, liar.proxy.url, run_id, work, timeout=1.0)
    liar.withholds = True
    outcomes = first.sum(parts_of(1), tell=False)
    first.close()
    assert {type(outcome) for outcome in outcomes.values()} == {CohortError}
    seeds = [held(first, bank)[0].seed for bank in BANKS]
    for bank, seed in zip(BANKS, seeds, strict=True):
        assert seed in first.outbox(bank).read_bytes()
        Outbox(first.outbox(bank)).forget_payloads()
    liar.withholds = False
    monkeypatch.setattr(session_module, "_USED_CONTEXTS", type(session_module._USED_CONTEXTS)())
    later = LiveCohort(live, liar.proxy.url, run_id, work, contributed=True)
    outcomes = later.sum(parts_of(1), tell=False)
    later.close()
    return outcomes


def test_a_product_that_comes_after_its_seed_was_erased_gets_no_box(
    live: LiveFederation, liar: Liar, tmp_path: Path, monkeypatch: Patch
) -> None:
    outcomes = offered_later(live, liar, live.start_run(1), tmp_path, monkeypatch)
    assert {type(outcome) for outcome in outcomes.values()} == {StateError}
    assert liar.boxes == 0
    for bank in BANKS:
        (kept,) = Outbox(tmp_path / f"{bank}.sealed")._places.values()
        assert (kept.contribution, kept.opening) == (None, None)


def test_control_a_seed_that_is_kept_is_revealed_to_a_product_that_comes_late(
    live: LiveFederation, liar: Liar, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Outbox, "forget_payloads", lambda self: None)
    assert_sum(offered_later(live, liar, live.start_run(1), tmp_path, monkeypatch), 1)
    assert liar.boxes == len(BANKS)


# Killed between revealing and hearing that it was stored


class Killed:
    """The victim as a process of its own, beside the others; killed when its box is on its way."""

    def __init__(self, live: LiveFederation, liar: Liar, work: Path, *, arrives: bool) -> None:
        self.live, self.liar, self.work = live, liar, work
        self.run_id = live.start_run(1)
        live.package.save(work / "package.key")
        (work / f"{VICTIM}.identity").write_bytes(live[VICTIM].identity.expose_bytes())
        members = [member.model_dump() for member in live.roster]
        (work / "members.json").write_text(json.dumps(members))
        self.others = LiveCohort(live, liar.proxy.url, self.run_id, work)
        self.others.communicators.pop(VICTIM)
        self.arrives = arrives
        self.boxes: list[bytes] = []
        self.under_way, self.is_dead = threading.Event(), threading.Event()
        liar.on_opening = self._on_opening

    @property
    def outbox(self) -> Path:
        return self.others.outbox(VICTIM)

    def _on_opening(self, exchange: Exchange) -> None:
        if exchange.bank != VICTIM:
            return
        self.boxes.append(exchange.body)
        if self.is_dead.is_set():
            return
        if self.arrives:
            self.liar.proxy.ask(exchange)
        self.under_way.set()
        self.is_dead.wait(60)
        raise ConnectionError("its sender was killed")

    def _start(self) -> subprocess.Popen[str]:
        where = (self.liar.proxy.url, self.run_id, VICTIM, str(self.work), "1")
        command = [sys.executable, "-m", "tests.support.revealing_child", *where]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def run(self, between: Callable[[], None] = lambda: None) -> str:
        """Kill the victim, do something, start it again; return the digest of the sum it prints."""
        with ThreadPoolExecutor(1) as pool:
            others = pool.submit(self.others.sum, parts_of(1)[:-1], tell=False)
            with self._start() as first:
                assert self.under_way.wait(60), "no box was sent"
                first.kill()
            assert first.returncode == -9
            self.is_dead.set()
            between()
            with self._start() as second:
                said, _ = second.communicate(timeout=60)
            assert_sum(others.result(timeout=60), 1)
        self.others.close()
        return said.strip()


def expected_digest() -> str:
    return hashlib.sha256(np.sum(parts_of(1), axis=0).tobytes()).hexdigest()


@pytest.mark.parametrize("arrives", [False, True], ids=["lost on its way", "stored"])
def test_killed_between_revealing_and_hearing_of_it_a_bank_reveals_the_same_box(
    live: LiveFederation, liar: Liar, tmp_path: Path, arrives: bool
) -> None:
    """It sends the very bytes again, or reads what the round was closed with."""
    killed = Killed(live, liar, tmp_path, arrives=arrives)
    assert killed.run() == expected_digest()
    assert len(killed.boxes) == (1 if arrives else 2)
    assert len(set(killed.boxes)) == 1
    (kept,) = held(killed.others, VICTIM)
    assert kept.opening == killed.boxes[0]


def test_control_without_its_record_a_bank_that_was_killed_reveals_another_box(
    live: LiveFederation, liar: Liar, tmp_path: Path
) -> None:
    killed = Killed(live, liar, tmp_path, arrives=False)

    def take_it_out() -> None:
        (places,) = Outbox(killed.outbox)._places.values()
        assert places.opening is not None
        killed.outbox.write_bytes(killed.outbox.read_bytes()[: places.opening[0]])

    assert killed.run(take_it_out) == expected_digest()
    assert len(set(killed.boxes)) == 2
