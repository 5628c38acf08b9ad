"""The aggregator's API as a bank sees it. The bank always calls; nothing connects into a bank.

Every request is idempotent by design of the API (same bytes, same receipt), so a request without
an answer is simply sent again; see ``bank_node.http.transport``.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from itertools import pairwise
from typing import Self, TypeVar
from urllib.parse import quote

from bank_node.config import TlsFiles
from bank_node.http.retry import RetryPolicy
from bank_node.http.transport import MESSAGE_BYTES, Caller, Purpose, Transport
from fraudfed.errors import ProtocolError
from fraudfed.wire import frames, handovers
from fraudfed.wire.media_types import BINARY, JSON
from fraudfed.wire.messages import (
    HANDOVER_SIGNATURE_HEADER,
    MODEL_PLAIN_HEADER,
    MODEL_SIGNATURE_HEADER,
    Abort,
    AbortReason,
    AuditEntry,
    AuditKey,
    AuditLog,
    BankRegistration,
    FrameHeader,
    FrameKind,
    HandoverReceipt,
    HandoverSignatures,
    Health,
    Join,
    KeyAcknowledgement,
    KeyEpoch,
    KeyEpochStatus,
    MemberKeys,
    MemberRemoval,
    Message,
    ModelReceipt,
    ModelSignatures,
    ModelVisibility,
    Ready,
    Roster,
    RoundReceipt,
    RunList,
    RunState,
    RunStatus,
    parse,
)

#: Of many runs, or of a thousand entries of the audit log.
LIST_BYTES = 32 * 1024 * 1024
#: A model, a handover, or a round of which this process has sent nothing; the aggregator takes
#: bodies of 64 MiB.
BODY_BYTES = 65 * 1024 * 1024
#: What headers, tags and signatures of every bank add to the answer of a round.
_ROUND_OVERHEAD_BYTES = 1024 * 1024

#: The aggregator holds a question open at most 30 s.
LONG_POLL_SECONDS = 25.0

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class AggregatorClient:
    """Calls of one bank to one aggregator; also a context manager that closes the connections.

    Parameters
    ----------
    url : str
        Base URL; https, or http to loopback.
    caller : Caller or None
        Signs and writes down every request. None can ask for the health only.
    tls : TlsFiles or None
    retry : RetryPolicy or None
        Patience per request, in seconds.

    Raises
    ------
    ConfigurationError
        As ``Transport``.
    """

    def __init__(
        self,
        url: str,
        *,
        caller: Caller | None = None,
        tls: TlsFiles | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._transport = Transport(
            url,
            caller=caller,
            tls=TlsFiles() if tls is None else tls,
            retry=RetryPolicy() if retry is None else retry,
        )
        # The round that was sent last, and its bytes: the answers to it are no larger.
        self._sent: tuple[str, int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The aggregator's base URL."""
        return self._transport.url

    @property
    def requests(self) -> Counter[str]:
        """Requests that left so far, by kind; see ``Transport``."""
        return self._transport.requests

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def be_patient(self, retry: RetryPolicy) -> None:
        """Use another patience from now on."""
        self._transport.retry = retry

    def health(self) -> Health:
        """Ask whether the aggregator is up."""
        return self._message(Health, "GET", "/v1/health", Purpose("health"))

    def register(self, registration: BankRegistration) -> MemberKeys:
        """Announce this bank's keys, once, with an invite."""
        return self._message(
            MemberKeys, "POST", "/v1/banks", Purpose("registration"), body=registration
        )

    def roster(self) -> Roster:
        """Return the members of the consortium, as the aggregator tells it."""
        return self._message(Roster, "GET", "/v1/roster", Purpose("question"))

    def remove_member(self, removal: MemberRemoval) -> Roster:
        """Say, signed, that a member has left."""
        path = f"/v1/banks/{quote(removal.removed.name, safe='')}/removals"
        return self._message(Roster, "POST", path, Purpose("member-removal"), body=removal)

    def create_epoch(self, key_epoch: KeyEpoch) -> KeyEpochStatus:
        """Publish a key epoch."""
        return self._message(
            KeyEpochStatus, "POST", "/v1/epochs", Purpose("key-epoch"), body=key_epoch
        )

    def epoch(self, number: int | None = None) -> KeyEpochStatus:
        """Return a key epoch; the latest without a number."""
        which = "current" if number is None else str(number)
        status = self._message(KeyEpochStatus, "GET", f"/v1/epochs/{which}", Purpose("question"))
        if number is not None and status.key_epoch.epoch != number:
            raise ProtocolError(
                f"{self.url}: answers with key epoch {status.key_epoch.epoch}, expected {number}; "
                "the aggregator is at fault"
            )
        return status

    def acknowledge(self, acknowledgement: KeyAcknowledgement) -> KeyEpochStatus:
        """Say that this bank holds the key of an epoch."""
        return self._message(
            KeyEpochStatus,
            "POST",
            f"/v1/epochs/{acknowledgement.epoch}/acknowledgements",
            Purpose("acknowledgement"),
            body=acknowledgement,
        )

    def runs(self) -> RunList:
        """Return the open runs and those of this bank."""
        return self._message(
            RunList, "GET", "/v1/runs", Purpose("question"), answer_bytes=LIST_BYTES
        )

    def run(
        self,
        run_id: str,
        *,
        while_state: RunState | None = None,
        while_generation: int | None = None,
        wait_seconds: float = LONG_POLL_SECONDS,
    ) -> RunStatus:
        """Return a run's status; with ``while_state`` wait as long as the run is still in it.

        Parameters
        ----------
        while_generation : int or None
            Wait no longer than the run is at this generation.
        """
        purpose = Purpose("question", run_id)
        if while_state is None:
            return self._of_run(self._message(RunStatus, "GET", _run(run_id), purpose), run_id)
        query = f"?wait={wait_seconds:g}&state={while_state.value}"
        if while_generation is not None:
            query += f"&generation={while_generation}"
        status = self._message(
            RunStatus, "GET", f"{_run(run_id)}{query}", purpose, wait=wait_seconds
        )
        return self._of_run(status, run_id)

    def join(self, run_id: str, body: Join) -> RunStatus:
        """Take part in a run, at its start or later; changes nothing for a bank that does."""
        path, purpose = f"{_run(run_id)}/members", Purpose("join", run_id)
        return self._of_run(self._message(RunStatus, "POST", path, purpose, body=body), run_id)

    def become_ready(self, run_id: str, generation: int, body: Ready) -> RunStatus:
        """Agree to take part in a generation."""
        path = f"{_run(run_id)}/generations/{generation}/banks"
        purpose = Purpose("ready", run_id)
        return self._of_run(self._message(RunStatus, "POST", path, purpose, body=body), run_id)

    def decline(self, run_id: str, generation: int) -> RunStatus:
        """Decline a generation that is being formed: this bank does not sum with its banks."""
        path = f"{_run(run_id)}/generations/{generation}/refusals"
        purpose = Purpose("decline", run_id)
        return self._of_run(self._message(RunStatus, "POST", path, purpose), run_id)

    def put_handover(
        self, run_id: str, generation: int, content: bytes, *, signature: str
    ) -> HandoverReceipt:
        """Hand the training so far, sealed and signed, to those that enter a generation."""
        answer = self._transport.request(
            "PUT",
            f"{_run(run_id)}/generations/{generation}/handover",
            Purpose("handover", run_id),
            content=content,
            headers={HANDOVER_SIGNATURE_HEADER: signature},
            expect=JSON,
        )
        return parse(HandoverReceipt, answer.content, source=self.url)

    def handover(
        self, run_id: str, generation: int, *, wait_seconds: float = LONG_POLL_SECONDS
    ) -> tuple[HandoverSignatures, bytes] | None:
        """Return what is handed to the entrants of a generation, and who has signed it.

        None when not every bank that stays has sent it yet.
        """
        body = self._frames(
            f"{_run(run_id)}/generations/{generation}/handover?wait={wait_seconds:g}",
            Purpose("question", run_id),
            wait=wait_seconds,
            answer_bytes=BODY_BYTES,
        )
        return None if body is None else handovers.decode(body, source=self.url)

    def abort(self, run_id: str, reason: AbortReason) -> RunStatus:
        """End a run for all its banks."""
        body = Abort(reason=reason)
        path = f"{_run(run_id)}/abort"
        return self._message(RunStatus, "POST", path, Purpose("abort", run_id), body=body)

    def contribute(
        self, frame: bytes, *, wait_seconds: float = LONG_POLL_SECONDS
    ) -> tuple[FrameHeader, memoryview] | None:
        """Send this bank's ciphertexts of a round and wait for its shard of the product.

        Parameters
        ----------
        frame : bytes
            Of ``fraudfed.wire.frames``; the same bytes in every attempt.

        Returns
        -------
        frame or None
            As ``product``.
        """
        body = self._exchange("contribution", "contributions", frame, wait_seconds)
        return None if body is None else frames.decode(body, source=self.url)

    def product(
        self,
        run_id: str,
        round_number: int,
        *,
        shard: int,
        wait_seconds: float = LONG_POLL_SECONDS,
    ) -> tuple[FrameHeader, memoryview] | None:
        """Return this bank's shard of the product, or None when it is not complete yet."""
        body = self._frames(
            f"{_run(run_id)}/rounds/{round_number}/product?shard={shard}&wait={wait_seconds:g}",
            Purpose("question", run_id, round_number),
            wait=wait_seconds,
            answer_bytes=self._round_bytes(run_id, round_number),
        )
        return None if body is None else frames.decode(body, source=self.url)

    def send_opening(
        self, frame: bytes, *, wait_seconds: float = LONG_POLL_SECONDS
    ) -> tuple[int, list[tuple[FrameHeader, memoryview]]] | None:
        """Send this bank's opened shard, sealed, and wait for all openings.

        Returns
        -------
        openings or None
            As ``openings``.
        """
        return self._openings(self._exchange("opening", "openings", frame, wait_seconds))

    def openings(
        self, run_id: str, round_number: int, *, wait_seconds: float = LONG_POLL_SECONDS
    ) -> tuple[int, list[tuple[FrameHeader, memoryview]]] | None:
        """Return body length and all banks' openings in shard order, or None when incomplete."""
        body = self._frames(
            f"{_run(run_id)}/rounds/{round_number}/openings?wait={wait_seconds:g}",
            Purpose("question", run_id, round_number),
            wait=wait_seconds,
            answer_bytes=self._round_bytes(run_id, round_number),
        )
        return self._openings(body)

    def submit_model(
        self, run_id: str, sha256: str, body: bytes, *, plain_sha256: str, signature: str
    ) -> ModelReceipt:
        """Vote for a model by sending it, as it is or sealed, with this bank's signature."""
        answer = self._transport.request(
            "PUT",
            f"{_run(run_id)}/models/{sha256}",
            Purpose("model", run_id),
            content=body,
            content_type=JSON if sha256 == plain_sha256 else BINARY,
            headers={MODEL_PLAIN_HEADER: plain_sha256, MODEL_SIGNATURE_HEADER: signature},
            expect=JSON,
        )
        return parse(ModelReceipt, answer.content, source=self.url)

    def model(self, run_id: str) -> bytes:
        """Return the accepted model as it is stored, for everybody or sealed to the members."""
        status = self.run(run_id)
        sealed = status.spec.model_visibility is ModelVisibility.MEMBERS
        answer = self._transport.request(
            "GET",
            f"{_run(run_id)}/model",
            Purpose("question", run_id),
            expect=BINARY if sealed else JSON,
            answer_bytes=BODY_BYTES,
        )
        return answer.content

    def model_signatures(self, run_id: str) -> ModelSignatures:
        """Return every bank's signature over the accepted model."""
        path = f"{_run(run_id)}/model/signatures"
        return self._message(ModelSignatures, "GET", path, Purpose("question", run_id))

    def audit_key(self) -> AuditKey:
        """Return the key that the aggregator signs its audit log with."""
        return self._message(AuditKey, "GET", "/v1/audit/key", Purpose("question"))

    def audit(self, run_id: str) -> list[AuditEntry]:
        """Return all entries of a run in the aggregator's audit log, in order."""
        entries: list[AuditEntry] = []
        while True:
            start = entries[-1].seq + 1 if entries else 1
            path = f"/v1/audit?run={quote(run_id, safe='')}&start={start}"
            page = self._message(
                AuditLog, "GET", path, Purpose("question", run_id), answer_bytes=LIST_BYTES
            ).entries
            if not page:
                return entries
            numbers = [start - 1, *(entry.seq for entry in page)]
            if any(after <= before for before, after in pairwise(numbers)):
                raise ProtocolError(
                    f"{self.url}: audit entries from {start} on are not in order; the aggregator "
                    "is at fault"
                )
            entries += page

    def _exchange(self, kind: str, place: str, content: bytes, wait_seconds: float) -> bytes | None:
        """Send a frame; return the answer if it came in time."""
        header, _ = frames.decode(content, source="frame to send")
        run_id, number = header.run_id, header.round_number
        if header.kind is FrameKind.CONTRIBUTION:
            self._sent = (run_id, number, len(content))
        answer = self._transport.request(
            "POST",
            f"{_run(run_id)}/rounds/{number}/{place}?wait={wait_seconds:g}",
            Purpose(kind, run_id, number, header.label, header.context),
            content=content,
            expect=BINARY,
            wait=wait_seconds,
            answer_bytes=self._round_bytes(run_id, number),
        )
        if answer.status != HTTPStatus.ACCEPTED:
            return answer.content
        receipt = parse(RoundReceipt, answer.content, source=self.url)
        if (receipt.run_id, receipt.round_number) != (run_id, number):
            raise ProtocolError(
                f"{self.url}: receipt is for round {receipt.round_number} of run "
                f"{receipt.run_id!r}, expected round {number} of run {run_id!r}; the aggregator is "
                "at fault"
            )
        return None

    def _round_bytes(self, run_id: str, number: int) -> int:
        """Return the most bytes of a round's product or openings.

        A shard of the product is no longer than the contribution, and all openings together are
        shorter: a plaintext has half the bits of its ciphertext.
        """
        if self._sent is None or self._sent[:2] != (run_id, number):
            return BODY_BYTES
        return self._sent[2] + _ROUND_OVERHEAD_BYTES

    def _openings(
        self, body: bytes | None
    ) -> tuple[int, list[tuple[FrameHeader, memoryview]]] | None:
        return None if body is None else (len(body), frames.decode_many(body, source=self.url))

    def _message(
        self,
        cls: type[M],
        method: str,
        path: str,
        purpose: Purpose,
        *,
        body: Message | None = None,
        wait: float = 0.0,
        answer_bytes: int = MESSAGE_BYTES,
    ) -> M:
        answer = self._transport.request(
            method,
            path,
            purpose,
            content=None if body is None else body.model_dump_json().encode(),
            content_type=JSON,
            expect=JSON,
            wait=wait,
            answer_bytes=answer_bytes,
        )
        return parse(cls, answer.content, source=self.url)

    def _frames(
        self, path: str, purpose: Purpose, *, wait: float, answer_bytes: int
    ) -> bytes | None:
        answer = self._transport.request(
            "GET", path, purpose, expect=BINARY, wait=wait, answer_bytes=answer_bytes
        )
        return None if answer.status == HTTPStatus.NO_CONTENT else answer.content

    def _of_run(self, status: RunStatus, run_id: str) -> RunStatus:
        if status.run_id != run_id:
            raise ProtocolError(
                f"{self.url}: status of run {status.run_id!r}, expected {run_id!r}; "
                "the aggregator is at fault"
            )
        return status


def wait_for(
    question: Callable[[float], T | None],
    *,
    seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> T | None:
    """Ask by long polls until there is an answer; None when ``seconds`` are over, if any."""
    deadline = math.inf if seconds is None else clock() + seconds
    while True:
        left = deadline - clock()
        answer = question(max(0.0, min(LONG_POLL_SECONDS, left)))
        if answer is not None or left <= 0:
            return answer


def _run(run_id: str) -> str:
    return f"/v1/runs/{quote(run_id, safe='')}"
