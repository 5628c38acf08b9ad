"""A malicious server over real HTTP: a tampering proxy between real communicators and aggregator.

The server answers as it likes; the banks run ``SecureCommunicator`` as in a training. A bank that
notices something tells the others, as ``bank_node.jobs.training`` does.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from attack_kit.products import ATTACKS, Attack
from attack_kit.sums import Outcome, make_parts
from federations.live import LiveFederation, served
from federations.live_cohort import LiveCohort
from proxies.proxy import Exchange, Proxy

import fraudfed.secure_sum.session as session_module
from bank_node.run.abort import tell_others
from bank_node.state.outbox import Outbox
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, StateError, SumError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.tags import TagCoefficients
from fraudfed.wire import frames
from fraudfed.wire.messages import RoundReceipt

BANKS = ("bank-a", "bank-b", "bank-c")
Patch = pytest.MonkeyPatch


class MaliciousServer:
    """Keeps what the banks send, and answers with what an attack makes of it."""

    def __init__(self, proxy: Proxy, package: KeyPackage) -> None:
        self.proxy = proxy
        self.key = package.public_key
        self.rounds: dict[int, dict[str, CiphertextVector]] = {}
        self.openings: dict[int, bytes] = {}
        self.attack: Attack | None = None
        self.attacked_round = 1
        self.forge_openings: Callable[[bytes], bytes] | None = None
        self.swallows_aborts = False
        self.holds_back = False
        proxy.before, proxy.after = self._before, self._after

    def _before(self, exchange: Exchange) -> None:
        method, path = exchange.route
        if method == "POST" and path.endswith("/contributions"):
            header, payload = frames.decode(exchange.body, source="server")
            vector = CiphertextVector(self.key, bytes(payload))
            self.rounds.setdefault(header.round_number, {})[str(header.bank)] = vector
        if self.swallows_aborts and path.endswith("/abort"):
            exchange.reply(b"{}")

    def _after(self, exchange: Exchange) -> None:
        path = exchange.route[1]
        if exchange.status != 200 or not path.endswith(("/contributions", "/product", "/openings")):
            return
        number = int(path.split("/")[-2])
        if self.holds_back and exchange.method == "POST":
            receipt = RoundReceipt(
                run_id=path.split("/")[3], round_number=number, received=1, expected=len(BANKS)
            )
            exchange.reply(receipt.model_dump_json().encode(), status=202)
        elif path.endswith("/openings"):
            self.openings[number] = exchange.answer
            if self.forge_openings and number == self.attacked_round:
                exchange.reply(
                    self.forge_openings(exchange.answer), media_type="application/octet-stream"
                )
        elif self.attack and number == self.attacked_round:
            exchange.answer = self._product(exchange, number)

    def _product(self, exchange: Exchange, number: int) -> bytes:
        header, _ = frames.decode(exchange.answer, source="server")
        seen = [
            [self.rounds[n][bank] for bank in sorted(self.rounds[n])] for n in range(number + 1)
        ]
        assert self.attack is not None
        forged = self.attack(self.key, seen)
        # Each bank is sent its own shard, in the answer to its contribution or to its question.
        shard = BANKS.index(str(exchange.bank))
        return frames.encode(header, forged.shard(shard, len(BANKS)).data)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, package: KeyPackage) -> Iterator[LiveFederation]:
    with served(tmp_path_factory.mktemp("server") / "aggregator", package, *BANKS) as made:
        yield made


@pytest.fixture
def server(live: LiveFederation) -> Iterator[MaliciousServer]:
    with Proxy(live.url) as proxy:
        yield MaliciousServer(proxy, live.package)


@pytest.fixture
def cohort(live: LiveFederation, server: MaliciousServer, tmp_path: Path) -> Iterator[LiveCohort]:
    made = LiveCohort(live, server.proxy.url, live.start_run(1), tmp_path)
    yield made
    made.close()


def truth(seed: int) -> Int64Array:
    return np.sum(make_parts(len(BANKS), seed), axis=0)


def assert_no_number(outcomes: dict[str, Outcome]) -> SumFault:
    """Every bank has the same error, to the letter; return the fault that it names."""
    assert all(isinstance(outcome, SumError) for outcome in outcomes.values()), outcomes
    (text,) = {str(outcome) for outcome in outcomes.values()}
    (fault,) = (fault for fault in SumFault if f"{fault.value}: " in text)
    return fault


def test_an_honest_server_gives_the_sum(cohort: LiveCohort) -> None:
    for seed in (1, 2):
        for outcome in cohort.sum(make_parts(3, seed)).values():
            np.testing.assert_array_equal(outcome, truth(seed))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_tampering_server_gets_no_number(
    cohort: LiveCohort, server: MaliciousServer, live: LiveFederation, attack: str
) -> None:
    server.attack = ATTACKS[attack]
    for outcome in cohort.sum(make_parts(3, 1)).values():
        np.testing.assert_array_equal(outcome, truth(1))
    assert_no_number(cohort.sum(make_parts(3, 2), tell=False))
    # Each tells the others the same constant; the first ends the run.
    for bank in BANKS:
        tell_others(cohort.clients[bank], cohort.run_id, SumError("as each bank has it"))
    status = live.status(cohort.run_id)
    assert (status["state"], status["failure"]) == ("failed", "bank-a: sum-failed")


@pytest.mark.parametrize("attack", ["alter_the_sum", "replay_the_sum", "show_one_contribution"])
def test_nor_does_a_server_that_makes_the_banks_ask_again(
    cohort: LiveCohort, server: MaliciousServer, attack: str
) -> None:
    """It holds the answers to contributions and openings back: the banks ask for them alone."""
    server.attack, server.holds_back = ATTACKS[attack], True
    for outcome in cohort.sum(make_parts(3, 1)).values():
        np.testing.assert_array_equal(outcome, truth(1))
    assert len(server.proxy.sent("GET", "/product")) == len(BANKS)
    assert len(server.proxy.sent("GET", "/openings")) == len(BANKS)
    assert_no_number(cohort.sum(make_parts(3, 2), tell=False))


def test_a_server_that_swallows_the_alarm_gets_no_number_either(
    live: LiveFederation, server: MaliciousServer, tmp_path: Path
) -> None:
    """No bank depends on another's alarm: each checks the sum itself."""
    server.attack, server.swallows_aborts, server.attacked_round = (
        ATTACKS["add_a_known_plaintext"],
        True,
        0,
    )
    cohort = LiveCohort(live, server.proxy.url, live.start_run(1), tmp_path, timeout=1.5)
    outcomes = cohort.sum(make_parts(3, 1))
    cohort.close()
    assert assert_no_number(outcomes) is SumFault.TAG
    assert live.status(cohort.run_id)["state"] == "training"


def reversed_openings(answer: bytes) -> bytes:
    found = [frames.encode(h, p) for h, p in frames.decode_many(answer, source="server")]
    return frames.encode_many(found[::-1])


def exchanged_boxes(answer: bytes) -> bytes:
    (first, a), (second, b), *rest = frames.decode_many(answer, source="server")
    forged = [(first, b), (second, a), *rest]
    return frames.encode_many([frames.encode(h, p) for h, p in forged])


def flipped_bit(answer: bytes) -> bytes:
    return answer[:-1] + bytes([answer[-1] ^ 1])


def one_missing(answer: bytes) -> bytes:
    found = [frames.encode(h, p) for h, p in frames.decode_many(answer, source="server")]
    return frames.encode_many(found[:-1])


def cut_off(answer: bytes) -> bytes:
    return answer[:-1]


@pytest.mark.parametrize(
    "forge", [reversed_openings, exchanged_boxes, flipped_bit, one_missing, cut_off]
)
def test_tampered_openings_give_no_number(
    cohort: LiveCohort, server: MaliciousServer, forge: Callable[[bytes], bytes]
) -> None:
    server.forge_openings, server.attacked_round = forge, 0
    outcomes = cohort.sum(make_parts(3, 1), tell=False)
    assert all(isinstance(outcome, FraudFedError) for outcome in outcomes.values()), outcomes


def test_replayed_openings_give_no_number(cohort: LiveCohort, server: MaliciousServer) -> None:
    cohort.sum(make_parts(3, 1))
    old = server.openings[0]
    server.forge_openings = lambda _: old
    outcomes = cohort.sum(make_parts(3, 2), tell=False)
    assert all(isinstance(outcome, FraudFedError) for outcome in outcomes.values()), outcomes


def test_replayed_openings_under_new_headers_give_no_number(
    cohort: LiveCohort, server: MaliciousServer
) -> None:
    """The header is the server's to write; the box is not."""
    cohort.sum(make_parts(3, 1))
    old = [payload for _, payload in frames.decode_many(server.openings[0], source="server")]

    def forge(answer: bytes) -> bytes:
        new = [header for header, _ in frames.decode_many(answer, source="server")]
        return frames.encode_many([frames.encode(h, p) for h, p in zip(new, old, strict=True)])

    server.forge_openings = forge
    for outcome in cohort.sum(make_parts(3, 2), tell=False).values():
        assert isinstance(outcome, SumError)
        assert SumFault.BOX.value in str(outcome)


def restarted(
    live: LiveFederation,
    server: MaliciousServer,
    run_id: str,
    work: Path,
    monkeypatch: Patch,
    **at: int,
) -> LiveCohort:
    """Start the banks again: of what a process knew, what is on disk stays."""
    monkeypatch.setattr(session_module, "_USED_CONTEXTS", type(session_module._USED_CONTEXTS)())
    return LiveCohort(live, server.proxy.url, run_id, work, timeout=5.0, **at)


def contributions(server: MaliciousServer) -> list[bytes]:
    return [exchange.body for exchange in server.proxy.sent("POST", "/contributions")]


def test_a_bank_that_is_restarted_never_seals_twice(
    live: LiveFederation, server: MaliciousServer, tmp_path: Path, monkeypatch: Patch
) -> None:
    """A server that plays a round again gets the very bytes that it had, whatever the rows say."""
    run_id = live.start_run(1)
    first = LiveCohort(live, server.proxy.url, run_id, tmp_path)
    first.sum(make_parts(3, 1))
    first.close()
    sent = contributions(server)
    assert len(set(sent)) == len(BANKS)
    again = restarted(live, server, run_id, tmp_path, monkeypatch, contributed=True)
    outcomes = again.sum(make_parts(3, 2), tell=False)
    again.close()
    # It reads what was opened; its new numbers are in no sum.
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome, truth(1))
    assert set(contributions(server)) == set(sent)
    # With its outbox lost it cannot send the same, and sends nothing.
    for name in BANKS:
        (tmp_path / f"{name}.sealed").unlink()
    before = len(contributions(server))
    lost = restarted(live, server, run_id, tmp_path, monkeypatch, contributed=True)
    outcomes = lost.sum(make_parts(3, 2), tell=False)
    lost.close()
    assert {type(outcome) for outcome in outcomes.values()} == {StateError}
    assert len(contributions(server)) == before


def test_control_without_the_outbox_a_restarted_bank_seals_twice(
    live: LiveFederation, server: MaliciousServer, tmp_path: Path, monkeypatch: Patch
) -> None:
    """The same masks under two parts: anyone with the key learns their difference."""
    run_id = live.start_run(1)
    first = LiveCohort(live, server.proxy.url, run_id, tmp_path)
    first.sum(make_parts(3, 1))
    first.close()
    sent = contributions(server)
    monkeypatch.setattr(Outbox, "find", lambda self, digest: None)
    monkeypatch.setattr(Outbox, "keep", lambda self, digest, frame, **_: None)
    again = restarted(live, server, run_id, tmp_path, monkeypatch)
    again.sum(make_parts(3, 2), tell=False)
    again.close()
    assert len(set(contributions(server)) - set(sent)) == len(BANKS)


def test_control_without_the_tag_a_tampering_server_chooses_the_number(
    cohort: LiveCohort, server: MaliciousServer, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(
        TagCoefficients, "tags", lambda self, digits, count: [0] * len(self._firsts)
    )
    server.attack, server.attacked_round = ATTACKS["add_a_known_plaintext"], 0
    for outcome in cohort.sum(make_parts(3, 1)).values():
        assert not isinstance(outcome, FraudFedError), outcome
        assert outcome[0] == truth(1)[0] + 1
        np.testing.assert_array_equal(outcome[1:], truth(1)[1:])
