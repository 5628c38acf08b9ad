"""A server that lies to banks about products and commitments, and keeps all that they send."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from cohorts.secure import multiply
from federations.live import LiveFederation
from federations.live_cohort import LiveCohort
from proxies.proxy import Exchange, Proxy

from attack_kit.sums import Outcome, make_parts
from bank_node.state.outbox import Kept, Outbox
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ProtocolError, SumError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames
from fraudfed.wire.media_types import BINARY
from fraudfed.wire.messages import FrameHeader, RoundReceipt

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d")
#: It helps the server: it follows the protocol, and tells all that it knows.
MEMBER = "bank-c"
VICTIM = "bank-d"

#: What a bank is told instead of (header, ciphertexts of its shard); with the name of the bank.
Lie = Callable[[str, FrameHeader, bytes], tuple[FrameHeader, bytes]]


class Liar:
    """Stands between the banks and an honest aggregator.

    Attributes
    ----------
    contributions : dict of round to dict of bank to CiphertextVector
    products : dict of (round, bank) to (header, shard)
        As the honest aggregator answers.
    lie : callable or None
        Told of products of ``lied_round`` and later.
    withholds : bool
        Give no product to anybody.
    """

    def __init__(self, proxy: Proxy, package: KeyPackage) -> None:
        self.proxy = proxy
        self.key = package.public_key
        self.contributions: dict[int, dict[str, CiphertextVector]] = {}
        self.products: dict[tuple[int, str], tuple[FrameHeader, bytes]] = {}
        self.lie: Lie | None = None
        self.lied_round = 1
        self.withholds = False
        self.on_opening: Callable[[Exchange], None] | None = None
        proxy.before, proxy.after = self._before, self._after

    @property
    def boxes(self) -> int:
        """How many openings have left the banks."""
        return len(self.proxy.sent("POST", "/openings"))

    def product(self, number: int, banks: Sequence[str] | None = None) -> CiphertextVector:
        """Return what a server can multiply of a round's contributions."""
        sent = self.contributions[number]
        return multiply([sent[bank] for bank in (sorted(sent) if banks is None else banks)])

    def _before(self, exchange: Exchange) -> None:
        method, path = exchange.route
        if method == "POST" and path.endswith("/contributions"):
            header, payload = frames.decode(exchange.body, source="server")
            vector = CiphertextVector(self.key, bytes(payload))
            self.contributions.setdefault(header.round_number, {})[str(header.bank)] = vector
        elif self.on_opening is not None and method == "POST" and path.endswith("/openings"):
            self.on_opening(exchange)

    def _after(self, exchange: Exchange) -> None:
        path = exchange.route[1]
        if exchange.status != 200 or not path.endswith(("/contributions", "/product")):
            return
        number, bank = int(path.split("/")[-2]), str(exchange.bank)
        header, shard = frames.decode(exchange.answer, source="server")
        self.products[number, bank] = header, bytes(shard)
        if self.withholds:
            receipt = RoundReceipt(
                run_id=header.run_id, round_number=number, received=1, expected=99
            )
            exchange.reply(receipt.model_dump_json().encode(), status=202)
            if exchange.method == "GET":
                # So that the banks do not ask without a pause.
                time.sleep(0.05)
                exchange.reply(b"", status=204)
        elif self.lie is not None and number >= self.lied_round:
            told, forged = self.lie(bank, header, bytes(shard))
            # Not validated: a server writes what it likes.
            exchange.reply(frames.encode(told, forged), media_type=BINARY)


def contributed(live: LiveFederation, run_id: str, count: int) -> None:
    """Wait until so many banks have contributed to the open round."""
    deadline = time.monotonic() + 20
    while len(live.status(run_id)["contributed"]) < count:
        if time.monotonic() > deadline:
            raise TimeoutError("the banks did not contribute")
        time.sleep(0.02)


def continue_without(live: LiveFederation, run_id: str, bank: str) -> tuple[str, ...]:
    """Drop a bank, and have the others agree to continue; return these."""
    for one in live.banks:
        one.run_id = run_id
    assert live.drop(live[bank]).status == 200
    rest = tuple(sorted(one.name for one in live.banks if one.name != bank))
    generation = live.status(run_id)["generation"]["number"]
    for name in rest:
        assert live[name].agree(generation, step=0).status == 200
    return rest


def next_cohort(live: LiveFederation, proxy: Proxy, run_id: str, work: Path) -> LiveCohort:
    """Return the banks of the generation that has begun."""
    generation = live.status(run_id)["generation"]
    return LiveCohort(
        live,
        proxy.url,
        run_id,
        work,
        banks=generation["banks"],
        first_round=generation["first_round"],
    )


def parts_of(seed: int, n_banks: int = len(BANKS)) -> list[Int64Array]:
    return make_parts(n_banks, seed)


def own_place(bank: str) -> int:
    return BANKS.index(bank)


def held(cohort: LiveCohort, bank: str) -> list[Kept]:
    """Return what a bank's outbox holds, in order."""
    outbox = Outbox(cohort.outbox(bank))
    return [outbox.find(context.hex()) or Kept() for context in outbox._places]


def assert_sum(outcomes: dict[str, Outcome], seed: int) -> None:
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome, np.sum(parts_of(seed), axis=0))


def assert_refused(outcomes: dict[str, Outcome]) -> None:
    assert {isinstance(outcome, (SumError, ProtocolError)) for outcome in outcomes.values()} == {
        True
    }, outcomes
