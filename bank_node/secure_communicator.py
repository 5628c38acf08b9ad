"""``Communicator.sum`` over the aggregator: ciphertexts go out, the sum over all banks comes back.

Law: if every bank of the cohort calls ``sum`` with its part, each gets the exact elementwise sum;
otherwise each gets an error, never a wrong number.
"""

import contextlib
from collections.abc import Callable
from typing import TypeVar

from bank_node.client import AggregatorClient, wait_for
from bank_node.logs import ROUND
from bank_node.noise_ahead import NoiseAhead
from bank_node.phases import PhaseTimes
from bank_node.round_record import RoundRecord
from bank_node.sealed_contexts import SealedContexts
from fraudfed.communicator import check_bound
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ConflictError, SumError
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.session import SecureSum
from fraudfed.wire.messages import FrameHeader, FrameKind

__all__ = ["DEFAULT_ROUND_TIMEOUT_SECONDS", "SecureCommunicator"]

#: A bank may be slow, or be started again; after so long the others stop waiting for it.
DEFAULT_ROUND_TIMEOUT_SECONDS = 900.0

T = TypeVar("T")


class SecureCommunicator:
    """One bank's end of the secure sums of a run.

    Parameters
    ----------
    client : AggregatorClient
    session : SecureSum
        Packs, tags, masks, encrypts, opens and verifies under the consortium's key package; made
        with the same ``roster`` and ``bank``.
    run_id : str
    epoch : int
        The run's key epoch.
    roster : tuple of str
        Names of the banks in the order of the cohort.
    bank : str
        This bank's name; its index in ``roster`` is the shard that it opens.
    facts : bytes
        What all banks must have been told alike about the run; begins the transcript.
    sealed : SealedContexts
        Contexts of the run that are used up.
    round_timeout_seconds : float
        How long to wait for the other banks in each half of a round.
    noise : NoiseAhead or None
        Makes noise while this bank waits; None makes all of it when it is needed.

    Attributes
    ----------
    times : PhaseTimes
        Where time and bytes went so far.
    round_number : int
        Rounds that this communicator has completed.
    rounds : list of RoundRecord
        What protected each of them.
    """

    def __init__(
        self,
        client: AggregatorClient,
        session: SecureSum,
        *,
        run_id: str,
        epoch: int,
        roster: tuple[str, ...],
        bank: str,
        facts: bytes,
        sealed: SealedContexts,
        round_timeout_seconds: float = DEFAULT_ROUND_TIMEOUT_SECONDS,
        noise: NoiseAhead | None = None,
    ) -> None:
        self._client = client
        self._session = session
        self._run_id = run_id
        self._epoch = epoch
        self._roster = roster
        self._bank = bank
        self._shard = roster.index(bank)
        self._round_timeout_seconds = round_timeout_seconds
        self._sealed = sealed
        self._noise = noise
        self._transcript = session.begin_transcript(facts)
        self.times = PhaseTimes()
        self.round_number = 0
        self.rounds: list[RoundRecord] = []

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
            If an element of ``values`` or of the sum lies outside its bounds; nothing is sent in
            the first case.
        SumError
            If the sum does not open or does not verify, the context is used up, or the other banks
            stay away.
        RunFailedError
            If another bank or the operator has ended the run.
        TransportError, ProtocolError
            If the aggregator cannot be reached or answers what does not belong here.
        """
        self.times.mark(label.partition(":")[0])
        check_bound(values, bound, low=low, label=label)
        if values.size == 0:
            # The shape is the same at every bank: there is nothing to send at any of them.
            return values.copy()
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
        self._sealed.claim(context.digest, label=label, round_number=self.round_number)
        payload = self._session.seal(values, layout, context)
        if self._noise is not None:
            self._noise.used(layout.n_plaintexts)
        self.times.mark("encrypt")
        product = self._exchange_product(payload, context, count=layout.n_plaintexts)
        self.times.mark("sum")
        box = self._session.open_shard(product, layout, context, shard=self._shard)
        self.times.mark("open")
        boxes = self._exchange_openings(box, context, count=layout.n_plaintexts)
        self.times.mark("wait")
        total = self._session.combine(boxes, layout, context)
        self._transcript = self._transcript.advance(context, total)
        self.rounds.append(
            RoundRecord.verified(context, self._session.public_key, ciphertexts=layout.n_plaintexts)
        )
        self.times.mark("open")
        self.round_number += 1
        self.times.rounds += 1
        self.times.values += values.size
        return total

    def _exchange_product(self, payload: bytes, context: RoundContext, *, count: int) -> bytes:
        """Send this bank's ciphertexts; return its shard of the product of all banks'."""
        width = self._session.public_key.ciphertext_bytes
        header = self._header(FrameKind.CONTRIBUTION, context, count=count, item_bytes=width)
        self.times.ciphertexts += count
        found, shard = self._exchange(
            lambda wait: self._client.contribute(header, payload, wait_seconds=wait),
            lambda wait: self._client.product(
                self._run_id, self.round_number, shard=self._shard, wait_seconds=wait
            ),
            context,
            what="contributions",
        )
        self._check(found, FrameKind.PRODUCT, context, item_bytes=width)
        self.times.bytes_received += len(shard)
        return bytes(shard)

    def _exchange_openings(self, box: bytes, context: RoundContext, *, count: int) -> list[bytes]:
        """Send this bank's opened shard, sealed; return all banks' in the order of the roster."""
        mine = len(range(self._shard, count, len(self._roster)))
        header = self._header(FrameKind.OPENING, context, count=mine, item_bytes=0)
        size, openings = self._exchange(
            lambda wait: self._client.send_opening(header, box, wait_seconds=wait),
            lambda wait: self._client.openings(self._run_id, self.round_number, wait_seconds=wait),
            context,
            what="openings",
        )
        self.times.bytes_received += size
        senders = tuple(found.bank for found, _ in openings)
        if senders != self._roster:
            raise SumError(
                f"sum {context.label!r}, round {self.round_number}: openings are of "
                f"{', '.join(str(name) for name in senders)}, expected one of each of "
                f"{', '.join(self._roster)}; the aggregator is at fault"
            )
        for found, _ in openings:
            self._check(found, FrameKind.OPENING, context, item_bytes=0)
        return [bytes(content) for _, content in openings]

    def _header(
        self, kind: FrameKind, context: RoundContext, *, count: int, item_bytes: int
    ) -> FrameHeader:
        return FrameHeader(
            kind=kind,
            run_id=self._run_id,
            round_number=self.round_number,
            label=context.label,
            context=context.digest,
            bank=self._bank,
            shard=self._shard if kind is FrameKind.OPENING else None,
            count=count,
            item_bytes=item_bytes,
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
        send: Callable[[float], tuple[int, T | None]],
        ask: Callable[[float], T | None],
        context: RoundContext,
        *,
        what: str,
    ) -> T:
        """Send and wait for the other banks: all of a round's waiting is done here.

        Parameters
        ----------
        send, ask : callable
            Each with the seconds that the aggregator may hold the answer back: what gives the
            number of bytes sent and the answer, and what asks again for the answer alone.
        """
        sent: int | None = None

        def question(wait: float) -> T | None:
            nonlocal sent
            if sent is None:
                sent, answer = send(wait)
                return answer
            return ask(wait)

        waiting = contextlib.nullcontext() if self._noise is None else self._noise.while_waiting()
        with waiting:
            answer = wait_for(question, seconds=self._round_timeout_seconds)
        self.times.bytes_sent += sent or 0
        if answer is None:
            raise SumError(
                f"sum {context.label!r}, round {self.round_number}: the {what} of all "
                f"{len(self._roster)} banks were not complete after "
                f"{self._round_timeout_seconds:g} s; a bank is down or too slow: ask the others, "
                "or raise --round-timeout"
            )
        return answer
