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
from dataclasses import dataclass, replace

import numpy as np

from bank_node.logs import ROUND
from bank_node.run.context import RunContext
from bank_node.run.sums.exchanges import Boxes, RoundExchanges
from bank_node.run.sums.noise_ahead import NoiseAhead
from bank_node.run.sums.noising import OwnNoise, PrivateSums, noise_of
from bank_node.run.sums.phases import PhaseTimes
from bank_node.run.sums.reveal import RevealGate
from bank_node.run.sums.under_way import UnderWay
from bank_node.state.outbox import Kept
from bank_node.state.round_record import RoundRecord
from fraudfed.dtypes import Int64Array
from fraudfed.errors import CohortChangedError, StateError
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.secure_sum import pieces
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.masks.self_masks import Sealed
from fraudfed.secure_sum.noise_keys import new_noise_key
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameKind


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


@dataclass(frozen=True, eq=False)
class _Turn:
    """One round as this bank takes part in it.

    Attributes
    ----------
    values : ndarray of shape ``layout.shape``, dtype=int64
    layout : SlotLayout
    context : RoundContext
    noise : OwnNoise or None
    ahead : Sealed or None
        What was sealed before its turn, and has not left this process.
    """

    values: Int64Array
    layout: SlotLayout
    context: RoundContext
    noise: OwnNoise | None = None
    ahead: Sealed | None = None


@dataclass(frozen=True)
class _Found:
    """What a round gave, and what it cost on the wire."""

    boxes: Boxes
    bytes_sent: int
    bytes_received: int


def _nothing() -> None:
    """Nothing has to be settled before this bank reveals."""


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
        self._session = session
        self._run_id = context.run_id
        self._epoch = context.epoch.key_epoch.epoch
        self._roster = roster
        self._bank = context.bank
        self._shard = roster.index(context.bank)
        self._start = start
        self._gate = gate
        self._outbox = context.outbox
        self._log = context.log
        self._private = private
        self._transcript = start.transcript
        self.times = PhaseTimes() if times is None else times
        self._exchanges = RoundExchanges(
            context,
            roster=roster,
            ciphertext_bytes=session.public_key.ciphertext_bytes,
            times=self.times,
            catches_up=start.catches_up,
        )
        self._exchanges.noise = noise
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

        No piece needs the sum of another, so all have the transcript before the first in their
        contexts. While one travels, the next is sealed and the last one is combined, in a thread
        beside this one. Nothing of the next leaves before its turn; and this bank reveals nothing
        of a piece before the piece before it was combined without a fault.

        A bank that is started again cuts at the same places and continues with the open round.
        """
        self.times.mark(label.partition(":")[0])
        noise_of(self._private, None, values.shape, label=label, n_banks=len(self._roster))
        whole = self._session.layout(bound, values.shape, low=low)
        highs, lows, parts = whole.highs, whole.lows, pieces.cut(whole, most=most)
        del whole
        flat, total = values.reshape(-1), np.empty(values.size, dtype=np.int64)
        first, before = self.round_number, self._transcript

        def prepared(index: int) -> _Turn:
            part, number = parts[index], first + index
            turn = self._turn(
                flat[part], highs[part], lows[part], label=label, number=number, transcript=before
            )
            if number < self._start.closed_rounds or turn.context.digest in self._outbox:
                return turn
            return replace(turn, ahead=self._session.seal(turn.values, turn.layout, turn.context))

        with UnderWay[_Turn, Int64Array](prepared, len(parts), drop=self._keep_unsent) as under_way:
            for part in parts:
                turn = under_way.next()
                found = self._boxes_of(turn, under_way.settle)

                def combine(turn: _Turn = turn, found: _Found = found) -> Int64Array:
                    return self._combined(turn, found)

                def then(
                    sums: Int64Array,
                    part: slice = part,
                    turn: _Turn = turn,
                    found: _Found = found,
                ) -> None:
                    total[part] = sums
                    self._close(turn, found, sums, began=before)

                under_way.later(combine, then)
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
        turn = self._turn(
            values, bound, low, label=label, number=self.round_number, transcript=self._transcript
        )
        found = self._boxes_of(replace(turn, noise=noise))
        total = self._combined(turn, found)
        self._close(turn, found, total)
        return total

    def _turn(
        self,
        values: Int64Array,
        bound: int | Int64Array,
        low: int | Int64Array | None,
        *,
        label: str,
        number: int,
        transcript: Transcript,
    ) -> _Turn:
        layout = self._session.layout(bound, values.shape, low=low)
        context = self._session.context(
            layout,
            run_id=self._run_id,
            epoch=self._epoch,
            round_number=number,
            label=label,
            transcript=transcript,
        )
        return _Turn(values, layout, context)

    def _boxes_of(self, turn: _Turn, settle: Callable[[], None] = _nothing) -> _Found:
        """Take part in a round, or read it if it is closed; return the boxes of all.

        Parameters
        ----------
        settle : callable
            Called before this bank reveals; what it raises ends the round here.
        """
        context, number = turn.context, turn.context.round_number
        ROUND.set(number)
        sent, received = self.times.bytes_sent, self.times.bytes_received
        if number < self._start.closed_rounds:
            kept = self._outbox.find(context.digest)
            boxes = self._exchanges.read(context, None if kept is None else kept.commitments)
        elif self._start.catches_up:
            raise CohortChangedError(
                f"run {self._run_id}: round {number} was not closed by the banks "
                f"{', '.join(self._roster)}; continue with the current banks"
            )
        else:
            boxes = self._take_part(turn, settle)
        return _Found(
            boxes,
            bytes_sent=self.times.bytes_sent - sent,
            bytes_received=self.times.bytes_received - received,
        )

    def _combined(self, turn: _Turn, found: _Found) -> Int64Array:
        boxes, commitments = found.boxes.boxes, found.boxes.commitments
        return self._session.combine(boxes, turn.layout, turn.context, commitments=commitments)

    def _close(
        self, turn: _Turn, found: _Found, total: Int64Array, *, began: Transcript | None = None
    ) -> None:
        """Continue the history with a round that was combined without a fault."""
        self._transcript = self._transcript.advance(turn.context, total, began=began)
        self._log.append(
            RoundRecord.verified(
                turn.context, self._session.public_key, ciphertexts=turn.layout.n_plaintexts
            ),
            bytes_sent=found.bytes_sent,
            bytes_received=found.bytes_received,
        )
        self.times.mark("open")
        self.round_number += 1
        self.times.rounds += 1
        self.times.values += turn.values.size

    def _take_part(self, turn: _Turn, settle: Callable[[], None]) -> Boxes:
        """Contribute, reveal, and return the boxes of all."""
        layout, context, noise = turn.layout, turn.context, turn.noise
        kept = self._outbox.find(context.digest)
        is_known = kept is not None
        if kept is None:
            kept = self._seal(turn)
        frame, seed = self._held(kept, context)
        self.times.mark("encrypt")
        product = self._exchanges.product(frame, context, is_known=is_known)
        self.times.mark("sum")
        settle()
        if product is None:
            return self._exchanges.read(context, kept.commitments)
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
            header = self._exchanges.header(FrameKind.OPENING, context, count=mine, item_bytes=0)
            opening, commitments = frames.encode(header, box), product.commitments
            self._require_reveal(noise, context)
            self._outbox.keep_opening(context.digest, opening, commitments=commitments)
        else:
            self._require_reveal(noise, context)
        self.times.mark("open")
        boxes = self._exchanges.openings(opening, context, commitments, is_known=is_known)
        self.times.mark("wait")
        return boxes

    def _require_reveal(self, noise: OwnNoise | None, context: RoundContext) -> None:
        """Ask whether this bank may reveal; what that costs is durable then."""
        self._gate.require()
        if self._private is not None and noise is not None:
            self._private.charges.commit(context.digest)

    def _held(self, kept: Kept, context: RoundContext) -> tuple[bytes, bytes]:
        """Return the one frame that is ever sent under a context, and the seed of its self mask."""
        if kept.contribution is None or kept.seed is None:
            raise StateError(
                f"run {self._run_id}: round {context.round_number} is open, but this bank no "
                "longer holds what it sealed for it; its state directory is not the newest: "
                "restore that, or ask the operator to drop this bank and start it again"
            )
        return kept.contribution, kept.seed

    def _seal(self, turn: _Turn) -> Kept:
        """Seal the only contribution to a context, and write it down with its secrets."""
        values, context, number = turn.values, turn.context, turn.context.round_number
        if self._start.contributed and number == self._start.closed_rounds:
            raise StateError(
                f"run {self._run_id}: the aggregator holds a contribution of this bank to round "
                f"{number} that its state directory does not know; restore the "
                "newest copy, or ask the operator to drop this bank and start it again"
            )
        noise_key = None
        if self._private is not None and turn.noise is not None:
            self._private.charges.reserve(
                context.digest,
                label=context.label,
                release=turn.noise.release,
                n_values=values.size,
            )
            noise_key = new_noise_key(context, values, bank=self._bank)
            values = values + turn.noise.draw(noise_key)
        sealed = turn.ahead
        if sealed is None:
            sealed = self._session.seal(values, turn.layout, context)
        kept = self._keep(turn, sealed, noise_key=noise_key)
        count = turn.layout.n_plaintexts
        if self._exchanges.noise is not None:
            self._exchanges.noise.used(count)
        self.times.ciphertexts += count
        return kept

    def _keep(self, turn: _Turn, sealed: Sealed, *, noise_key: bytes | None = None) -> Kept:
        context = turn.context
        header = self._exchanges.header(
            FrameKind.CONTRIBUTION,
            context,
            count=turn.layout.n_plaintexts,
            item_bytes=self._session.public_key.ciphertext_bytes,
            step=self.step,
            commitment=sealed.commitment,
        )
        frame = frames.encode(header, sealed.payload)
        self._outbox.keep(
            context.digest,
            frame,
            seed=sealed.seed,
            label=context.label,
            round_number=context.round_number,
            noise_key=noise_key,
        )
        return Kept(contribution=frame, seed=sealed.seed, noise_key=noise_key)

    def _keep_unsent(self, turn: _Turn) -> None:
        """Write down what was sealed and not sent: a context is sealed once in a process."""
        if turn.ahead is not None:
            # What cannot be written down has not left either.
            with contextlib.suppress(StateError):
                self._keep(turn, turn.ahead)
