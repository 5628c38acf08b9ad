"""What a bank sends and is told in a round: two exchanges, each sent again until it is answered.

An exchange sends a frame and waits for what the aggregator has when all banks have sent theirs; a
bank whose connection broke, or that waited in vain, sends the same bytes again or asks for the
answer alone. What comes back is held against the round: kind, run, number, label and context.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bank_node.http.client import wait_for
from bank_node.run.context import RunContext
from bank_node.run.sums.noise_ahead import NoiseAhead
from bank_node.run.sums.phases import PhaseTimes
from fraudfed.errors import (
    CohortChangedError,
    CohortError,
    ConflictError,
    NotFoundError,
    StateError,
    SumError,
)
from fraudfed.secure_sum.context import RoundContext
from fraudfed.wire.messages import FrameHeader, FrameKind

T = TypeVar("T")


@dataclass(frozen=True)
class Product:
    """What this bank opens of the product, and the commitments of all banks beside it."""

    shard: bytes
    commitments: tuple[str, ...]


@dataclass(frozen=True)
class Boxes:
    """The boxes of all banks, and the commitments that this bank's own was made under, if known."""

    boxes: list[bytes]
    commitments: tuple[str, ...] | None


class RoundExchanges:
    """The exchanges of one bank with the aggregator, in the rounds of a generation.

    Parameters
    ----------
    context : RunContext
    roster : tuple of str
        Names of the banks of the generation, in its order.
    ciphertext_bytes : int
        Of the run's key.
    times : PhaseTimes
        Counts the bytes.
    catches_up : bool
        Whether only closed rounds are read, because the generation is about to end.

    Attributes
    ----------
    noise : NoiseAhead or None
        Makes noise while this bank waits.
    """

    def __init__(
        self,
        context: RunContext,
        *,
        roster: tuple[str, ...],
        ciphertext_bytes: int,
        times: PhaseTimes,
        catches_up: bool,
    ) -> None:
        self._client = context.client
        self._run_id = context.run_id
        self._roster = roster
        self._bank = context.bank
        self._shard = roster.index(context.bank)
        self._ciphertext_bytes = ciphertext_bytes
        self._round_timeout_seconds = context.options.round_timeout_seconds
        self._times = times
        self._catches_up = catches_up
        self.noise: NoiseAhead | None = None

    def header(
        self,
        kind: FrameKind,
        context: RoundContext,
        *,
        count: int,
        item_bytes: int,
        step: int = 0,
        commitment: str | None = None,
    ) -> FrameHeader:
        """Return the header of a frame of this bank."""
        return FrameHeader(
            kind=kind,
            run_id=self._run_id,
            round_number=context.round_number,
            label=context.label,
            context=context.digest,
            bank=self._bank,
            shard=self._shard if kind is FrameKind.OPENING else None,
            step=step,
            count=count,
            item_bytes=item_bytes,
            commitment=commitment,
        )

    def product(self, frame: bytes, context: RoundContext, *, is_known: bool) -> Product | None:
        """Send this bank's ciphertexts; return its shard of the product of all banks'.

        None if the round was closed meanwhile, which needs that this bank was there before.
        """
        number = context.round_number
        try:
            found, shard = self._exchange(
                frame,
                lambda wait: self._client.contribute(frame, wait_seconds=wait),
                lambda wait: self._client.product(
                    self._run_id, number, shard=self._shard, wait_seconds=wait
                ),
                context,
                what="contributions",
            )
        except NotFoundError:
            if not is_known:
                raise
            return None
        self._check(found, FrameKind.PRODUCT, context, item_bytes=self._ciphertext_bytes)
        self._times.bytes_received += len(shard)
        return Product(bytes(shard), found.commitments or ())

    def openings(
        self,
        frame: bytes,
        context: RoundContext,
        commitments: tuple[str, ...],
        *,
        is_known: bool,
    ) -> Boxes:
        """Send this bank's box; return all banks' in the order of the roster."""
        try:
            found = self._exchange(
                frame,
                lambda wait: self._client.send_opening(frame, wait_seconds=wait),
                self._asking(context),
                context,
                what="openings",
            )
        except CohortChangedError:
            raise
        except ConflictError:
            # An older copy of the state directory may lack the box that was sent, and the box
            # around the same numbers is another one each time.
            if not is_known:
                raise
            return self.read(context, commitments)
        return Boxes(self._checked_openings(found, context), commitments)

    def read(self, context: RoundContext, commitments: tuple[str, ...] | None) -> Boxes:
        """Return the boxes of a round that this bank has contributed to before.

        Parameters
        ----------
        commitments : tuple of str or None
            That this bank's own box was made under; None if it no longer holds that.
        """
        number = context.round_number
        try:
            found = self._waited(self._asking(context), context, what="openings")
        except NotFoundError:
            if self._catches_up:
                raise CohortChangedError(
                    f"run {self._run_id}: round {number} is no longer kept; continue "
                    "with the current banks"
                ) from None
            raise StateError(
                f"run {self._run_id}: the others have finished the step of round "
                f"{number}, and its sums are no longer kept; this state directory is "
                "not the newest: restore that, or ask the operator to drop this bank and start it "
                "again"
            ) from None
        return Boxes(self._checked_openings(found, context), commitments)

    def _asking(
        self, context: RoundContext
    ) -> Callable[[float], tuple[int, list[tuple[FrameHeader, memoryview]]] | None]:
        number = context.round_number
        return lambda wait: self._client.openings(self._run_id, number, wait_seconds=wait)

    def _checked_openings(
        self, found: tuple[int, list[tuple[FrameHeader, memoryview]]], context: RoundContext
    ) -> list[bytes]:
        size, openings = found
        self._times.bytes_received += size
        senders = tuple(header.bank for header, _ in openings)
        if senders != self._roster:
            raise SumError(
                f"sum {context.label!r}, round {context.round_number}: openings are of "
                f"{', '.join(str(name) for name in senders)}, expected one of each of "
                f"{', '.join(self._roster)}; the aggregator is at fault"
            )
        for header, _ in openings:
            self._check(header, FrameKind.OPENING, context, item_bytes=0)
        return [bytes(content) for _, content in openings]

    def _check(
        self, found: FrameHeader, kind: FrameKind, context: RoundContext, *, item_bytes: int
    ) -> None:
        """Refuse a frame that is not of this round."""
        expected = {
            "kind": kind,
            "run_id": self._run_id,
            "round_number": context.round_number,
            "label": context.label,
            "context": context.digest,
            "item_bytes": item_bytes,
        }
        for name, value in expected.items():
            if getattr(found, name) != value:
                raise ConflictError(
                    f"sum {context.label!r}, round {context.round_number}: the aggregator answers "
                    f"with {name} {getattr(found, name)!r}, expected {value!r}; the banks do not "
                    "run the same program on the same run, or the aggregator is at fault"
                )

    def _exchange(
        self,
        frame: bytes,
        send: Callable[[float], T | None],
        ask: Callable[[float], T | None],
        context: RoundContext,
        *,
        what: str,
    ) -> T:
        """Send and wait for the other banks.

        Parameters
        ----------
        send, ask : callable
            Each with the seconds that the aggregator may hold the answer back: what sends the frame
            and gives the answer, and what asks again for the answer alone.
        """
        is_sent = False

        def question(wait: float) -> T | None:
            nonlocal is_sent
            if is_sent:
                return ask(wait)
            answer = send(wait)
            is_sent = True
            self._times.bytes_sent += len(frame)
            return answer

        return self._waited(question, context, what=what)

    def _waited(
        self, question: Callable[[float], T | None], context: RoundContext, *, what: str
    ) -> T:
        """Wait for the other banks: all of a round's waiting is done here."""
        waiting = contextlib.nullcontext() if self.noise is None else self.noise.while_waiting()
        with waiting:
            answer = wait_for(question, seconds=self._round_timeout_seconds)
        if answer is None:
            raise CohortError(
                f"sum {context.label!r}, round {context.round_number}: the {what} of all "
                f"{len(self._roster)} banks were not complete after "
                f"{self._round_timeout_seconds:g} s; a bank is down or too slow: ask the others, "
                "then start this bank again, with a longer --round-timeout"
            )
        return answer
