"""``Communicator.sum`` over the aggregator: ciphertexts go out, the sum over all banks comes back.

Law: if every bank of the generation calls ``sum`` with its part, each gets the exact elementwise
sum; otherwise each gets an error, never a wrong number. A bank that was started again calls ``sum``
from its last checkpoint on: what it has sealed before it sends again, byte for byte, and rounds
that are closed it only reads.

What this bank sends is noise until it reveals the seed of its self mask, in one box for each
context. It reveals only what it sealed itself and still holds the seed of, for a product that comes
with its own commitment, and if the gate lets it; and it writes the box down before it sends it.
Nothing here is decided by the bank's own values: they are sealed as they are.

In a run with privacy terms only what is declared free is summed exactly. Everything else carries
noise of every bank, which is set aside in the privacy ledger before it is sealed, and charged
before its box is sent.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bank_node.http.client import wait_for
from bank_node.logs import ROUND
from bank_node.run.context import RunContext
from bank_node.run.sums.noise_ahead import NoiseAhead
from bank_node.run.sums.noising import OwnNoise, PrivateSums, noise_of
from bank_node.run.sums.phases import PhaseTimes
from bank_node.run.sums.reveal import RevealGate
from bank_node.state.outbox import Kept
from bank_node.state.round_record import RoundRecord
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    CohortChangedError,
    CohortError,
    ConflictError,
    NotFoundError,
    StateError,
    SumError,
)
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.secure_sum import pieces
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.noise_keys import new_noise_key
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameHeader, FrameKind

T = TypeVar("T")


@dataclass(frozen=True)
class StartingPoint:
    """Where the sums of a generation begin or continue.

    Attributes
    ----------
    round_number : int
        Of the next sum.
    step : int
        Finished steps of the work.
    transcript : Transcript
        Before the next sum.
    closed_rounds : int
        Rounds below this number are closed: they are read.
    contributed : bool
        Whether the aggregator has this bank's contribution to the open round ``closed_rounds``.
    catches_up : bool
        Whether only closed rounds are read, because the generation is about to end.
    """

    round_number: int
    step: int
    transcript: Transcript
    closed_rounds: int = 0
    contributed: bool = False
    catches_up: bool = False


@dataclass(frozen=True)
class _Product:
    """What this bank opens of the product, and the commitments of all banks beside it."""

    shard: bytes
    commitments: tuple[str, ...]


@dataclass(frozen=True)
class _Boxes:
    """The boxes of all banks, and the commitments that this bank's own was made under, if known."""

    boxes: list[bytes]
    commitments: tuple[str, ...] | None


class SecureCommunicator:
    """One bank's end of the secure sums of a generation.

    Parameters
    ----------
    context : RunContext
    session : SecureSum
        Packs, tags, masks, encrypts, opens and verifies under the consortium's key package; made
        with the same ``roster``.
    roster : tuple of str
        Names of the banks of the generation, in its order. This bank opens the shard of its index.
    start : StartingPoint
    gate : RevealGate
        Asked before every box that leaves this bank.
    noise : NoiseAhead or None
        Makes noise while this bank waits; None makes all of it when it is needed.
    times : PhaseTimes or None
        Adds to these figures.
    private : PrivateSums or None
        Of a run with privacy terms.

    Attributes
    ----------
    times : PhaseTimes
        Where time and bytes of this process went so far.
    round_number : int
        The next round.
    step : int
        Finished steps of the work; its owner counts them.
    """

    def __init__(
        self,
        context: RunContext,
        session: SecureSum,
        *,
        roster: tuple[str, ...],
        start: StartingPoint,
        gate: RevealGate,
        noise: NoiseAhead | None = None,
        times: PhaseTimes | None = None,
        private: PrivateSums | None = None,
    ) -> None:
        self._client = context.client
        self._session = session
        self._run_id = context.run_id
        self._epoch = context.epoch.key_epoch.epoch
        self._roster = roster
        self._bank = context.bank
        self._shard = roster.index(context.bank)
        self._round_timeout_seconds = context.options.round_timeout_seconds
        self._start = start
        self._gate = gate
        self._outbox = context.outbox
        self._log = context.log
        self._noise = noise
        self._private = private
        self._transcript = start.transcript
        self.times = PhaseTimes() if times is None else times
        self.round_number = start.round_number
        self.step = start.step

    @property
    def transcript(self) -> str:
        """Digest of all that was summed so far."""
        return self._transcript.digest

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        """Return the elementwise sum of ``values`` over all banks; see ``Communicator.sum``.

        Raises
        ------
        BoundError
            If ``values`` are no int64, or the bounds are none.
        SumError
            If the sum does not open, does not verify or lies outside its bounds, the context is
            used up, or the other banks stay away.
        CohortChangedError
            If other banks take part now.
        RunFailedError
            If another bank or the operator has ended the run.
        StateError
            If this bank no longer holds what it has sent, or cannot write down what it seals or
            reveals.
        ConfigurationError
            If the run has privacy terms, and the sum is not declared free under them.
        FraudFedError
            What the gate raises, if this bank may not reveal.
        TransportError, ProtocolError
            If the aggregator cannot be reached or answers what does not belong here.
        """
        most = pieces.most_plaintexts(self._session.public_key)
        if pieces.is_surely_one(values.size, self._session.public_key, most=most):
            return self._summed(values, bound=bound, low=low, label=label, release=None)
        return self._sum_in_pieces(values, bound=bound, low=low, label=label, most=most)

    def _sum_in_pieces(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None,
        label: str,
        most: int,
    ) -> Int64Array:
        """Return the sum of a wide vector: one round after the other, each below a bound of bytes.

        A bank that is started again cuts at the same places and continues with the open round.
        """
        whole = self._session.layout(bound, values.shape, low=low)
        highs, lows, parts = whole.highs, whole.lows, pieces.cut(whole, most=most)
        del whole
        flat, total = values.reshape(-1), np.empty(values.size, dtype=np.int64)
        for part in parts:
            total[part] = self._summed(
                flat[part], bound=highs[part], low=lows[part], label=label, release=None
            )
        return total.reshape(values.shape)

    def noised_sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
        release: NoisedRelease,
    ) -> Int64Array:
        """Return the sum with the noise of all banks; see ``NoisingCommunicator.noised_sum``.

        Raises
        ------
        ConfigurationError
            If the run has no privacy terms, or the sum is not declared as one with noise.
        CohortError
            If too few banks are left without the tolerated colluders.
        FraudFedError
            As ``sum``; or what the privacy ledger raises if its budget does not hold the release.
        """
        return self._summed(values, bound=bound, low=low, label=label, release=release)

    def _summed(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None,
        label: str,
        release: NoisedRelease | None,
    ) -> Int64Array:
        self.times.mark(label.partition(":")[0])
        noise = noise_of(
            self._private, release, values.shape, label=label, n_banks=len(self._roster)
        )
        if values.size == 0:
            # The shape is the same at every bank: there is nothing to send at any of them.
            return values.copy()
        if noise is not None:
            bound, low = noise.widened(bound, low)
        ROUND.set(self.round_number)
        layout = self._session.layout(bound, values.shape, low=low)
        context = self._session.context(
            layout,
            run_id=self._run_id,
            epoch=self._epoch,
            round_number=self.round_number,
            label=label,
            transcript=self._transcript,
        )
        sent, received = self.times.bytes_sent, self.times.bytes_received
        if self.round_number < self._start.closed_rounds:
            kept = self._outbox.find(context.digest)
            found = self._read_openings(context, None if kept is None else kept.commitments)
        elif self._start.catches_up:
            raise CohortChangedError(
                f"run {self._run_id}: round {self.round_number} was not closed by the banks "
                f"{', '.join(self._roster)}; continue with the current banks"
            )
        else:
            found = self._take_part(values, noise, layout, context)
        total = self._session.combine(found.boxes, layout, context, commitments=found.commitments)
        self._transcript = self._transcript.advance(context, total)
        self._log.append(
            RoundRecord.verified(
                context, self._session.public_key, ciphertexts=layout.n_plaintexts
            ),
            bytes_sent=self.times.bytes_sent - sent,
            bytes_received=self.times.bytes_received - received,
        )
        self.times.mark("open")
        self.round_number += 1
        self.times.rounds += 1
        self.times.values += values.size
        return total

    def _take_part(
        self,
        values: Int64Array,
        noise: OwnNoise | None,
        layout: SlotLayout,
        context: RoundContext,
    ) -> _Boxes:
        """Contribute, reveal, and return the boxes of all."""
        kept = self._outbox.find(context.digest)
        is_known = kept is not None
        if kept is None:
            kept = self._seal(values, noise, layout, context)
        frame, seed = self._held(kept)
        self.times.mark("encrypt")
        product = self._exchange_product(frame, context, is_known=is_known)
        self.times.mark("sum")
        if product is None:
            return self._read_openings(context, kept.commitments)
        opening, commitments = kept.opening, kept.commitments
        if opening is None or commitments is None:
            box = self._session.open_shard(
                product.shard,
                layout,
                context,
                shard=self._shard,
                seed=seed,
                commitments=product.commitments,
            )
            mine = len(range(self._shard, layout.n_plaintexts, len(self._roster)))
            header = self._header(FrameKind.OPENING, context, count=mine, item_bytes=0)
            opening, commitments = frames.encode(header, box), product.commitments
            self._require_reveal(noise, context)
            self._outbox.keep_opening(context.digest, opening, commitments=commitments)
        else:
            self._require_reveal(noise, context)
        self.times.mark("open")
        boxes = self._exchange_openings(opening, context, commitments, is_known=is_known)
        self.times.mark("wait")
        return boxes

    def _require_reveal(self, noise: OwnNoise | None, context: RoundContext) -> None:
        """Ask whether this bank may reveal; what that costs is durable then."""
        self._gate.require()
        if self._private is not None and noise is not None:
            self._private.charges.commit(context.digest)

    def _held(self, kept: Kept) -> tuple[bytes, bytes]:
        """Return the one frame that is ever sent under a context, and the seed of its self mask."""
        if kept.contribution is None or kept.seed is None:
            raise StateError(
                f"run {self._run_id}: round {self.round_number} is open, but this bank no "
                "longer holds what it sealed for it; its state directory is not the newest: "
                "restore that, or ask the operator to drop this bank and start it again"
            )
        return kept.contribution, kept.seed

    def _seal(
        self,
        values: Int64Array,
        noise: OwnNoise | None,
        layout: SlotLayout,
        context: RoundContext,
    ) -> Kept:
        """Seal the only contribution to a context, and write it down with its secrets."""
        if self._start.contributed and self.round_number == self._start.closed_rounds:
            raise StateError(
                f"run {self._run_id}: the aggregator holds a contribution of this bank to round "
                f"{self.round_number} that its state directory does not know; restore the "
                "newest copy, or ask the operator to drop this bank and start it again"
            )
        noise_key = None
        if self._private is not None and noise is not None:
            self._private.charges.reserve(
                context.digest, label=context.label, release=noise.release, n_values=values.size
            )
            noise_key = new_noise_key(context, values, bank=self._bank)
            values = values + noise.draw(noise_key)
        sealed = self._session.seal(values, layout, context)
        width, count = self._session.public_key.ciphertext_bytes, layout.n_plaintexts
        header = self._header(
            FrameKind.CONTRIBUTION,
            context,
            count=count,
            item_bytes=width,
            commitment=sealed.commitment,
        )
        frame = frames.encode(header, sealed.payload)
        self._outbox.keep(
            context.digest,
            frame,
            seed=sealed.seed,
            label=context.label,
            round_number=self.round_number,
            noise_key=noise_key,
        )
        if self._noise is not None:
            self._noise.used(count)
        self.times.ciphertexts += count
        return Kept(contribution=frame, seed=sealed.seed, noise_key=noise_key)

    def _exchange_product(
        self, frame: bytes, context: RoundContext, *, is_known: bool
    ) -> _Product | None:
        """Send this bank's ciphertexts; return its shard of the product of all banks'.

        None if the round was closed meanwhile, which needs that this bank was there before.
        """
        try:
            found, shard = self._exchange(
                frame,
                lambda wait: self._client.contribute(frame, wait_seconds=wait),
                lambda wait: self._client.product(
                    self._run_id, self.round_number, shard=self._shard, wait_seconds=wait
                ),
                context,
                what="contributions",
            )
        except NotFoundError:
            if not is_known:
                raise
            return None
        width = self._session.public_key.ciphertext_bytes
        self._check(found, FrameKind.PRODUCT, context, item_bytes=width)
        self.times.bytes_received += len(shard)
        return _Product(bytes(shard), found.commitments or ())

    def _exchange_openings(
        self,
        frame: bytes,
        context: RoundContext,
        commitments: tuple[str, ...],
        *,
        is_known: bool,
    ) -> _Boxes:
        """Send this bank's box; return all banks' in the order of the roster."""
        try:
            found = self._exchange(
                frame,
                lambda wait: self._client.send_opening(frame, wait_seconds=wait),
                self._ask_openings,
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
            return self._read_openings(context, commitments)
        return _Boxes(self._checked_openings(found, context), commitments)

    def _read_openings(self, context: RoundContext, commitments: tuple[str, ...] | None) -> _Boxes:
        """Return the boxes of a round that this bank has contributed to before.

        Parameters
        ----------
        commitments : tuple of str or None
            That this bank's own box was made under; None if it no longer holds that.
        """
        try:
            found = self._waited(self._ask_openings, context, what="openings")
        except NotFoundError:
            if self._start.catches_up:
                raise CohortChangedError(
                    f"run {self._run_id}: round {self.round_number} is no longer kept; continue "
                    "with the current banks"
                ) from None
            raise StateError(
                f"run {self._run_id}: the others have finished the step of round "
                f"{self.round_number}, and its sums are no longer kept; this state directory is "
                "not the newest: restore that, or ask the operator to drop this bank and start it "
                "again"
            ) from None
        return _Boxes(self._checked_openings(found, context), commitments)

    def _ask_openings(self, wait: float) -> tuple[int, list[tuple[FrameHeader, memoryview]]] | None:
        return self._client.openings(self._run_id, self.round_number, wait_seconds=wait)

    def _checked_openings(
        self, found: tuple[int, list[tuple[FrameHeader, memoryview]]], context: RoundContext
    ) -> list[bytes]:
        size, openings = found
        self.times.bytes_received += size
        senders = tuple(header.bank for header, _ in openings)
        if senders != self._roster:
            raise SumError(
                f"sum {context.label!r}, round {self.round_number}: openings are of "
                f"{', '.join(str(name) for name in senders)}, expected one of each of "
                f"{', '.join(self._roster)}; the aggregator is at fault"
            )
        for header, _ in openings:
            self._check(header, FrameKind.OPENING, context, item_bytes=0)
        return [bytes(content) for _, content in openings]

    def _header(
        self,
        kind: FrameKind,
        context: RoundContext,
        *,
        count: int,
        item_bytes: int,
        commitment: str | None = None,
    ) -> FrameHeader:
        return FrameHeader(
            kind=kind,
            run_id=self._run_id,
            round_number=self.round_number,
            label=context.label,
            context=context.digest,
            bank=self._bank,
            shard=self._shard if kind is FrameKind.OPENING else None,
            step=self.step if kind is FrameKind.CONTRIBUTION else 0,
            count=count,
            item_bytes=item_bytes,
            commitment=commitment,
        )

    def _check(
        self, found: FrameHeader, kind: FrameKind, context: RoundContext, *, item_bytes: int
    ) -> None:
        """Refuse a frame that is not of this round."""
        expected = {
            "kind": kind,
            "run_id": self._run_id,
            "round_number": self.round_number,
            "label": context.label,
            "context": context.digest,
            "item_bytes": item_bytes,
        }
        for name, value in expected.items():
            if getattr(found, name) != value:
                raise ConflictError(
                    f"sum {context.label!r}, round {self.round_number}: the aggregator answers "
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
            self.times.bytes_sent += len(frame)
            return answer

        return self._waited(question, context, what=what)

    def _waited(
        self, question: Callable[[float], T | None], context: RoundContext, *, what: str
    ) -> T:
        """Wait for the other banks: all of a round's waiting is done here."""
        waiting = contextlib.nullcontext() if self._noise is None else self._noise.while_waiting()
        with waiting:
            answer = wait_for(question, seconds=self._round_timeout_seconds)
        if answer is None:
            raise CohortError(
                f"sum {context.label!r}, round {self.round_number}: the {what} of all "
                f"{len(self._roster)} banks were not complete after "
                f"{self._round_timeout_seconds:g} s; a bank is down or too slow: ask the others, "
                "then start this bank again, with a longer --round-timeout"
            )
        return answer
