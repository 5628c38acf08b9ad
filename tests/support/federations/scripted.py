"""An aggregator that says what a test wants it to, in an order no real one can be brought to."""

from typing import Any

from fraudfed.errors import FraudFedError
from fraudfed.wire.messages import (
    HandoverReceipt,
    HandoverSignature,
    HandoverSignatures,
    Join,
    Ready,
    ReadyBank,
    RunState,
    RunStatus,
)


class Script:
    """An aggregator that answers with one status after the other, and keeps what it is asked.

    What ``bank`` has said to a generation it repeats in every later status of it, as an honest one
    does; with ``echoes`` False each status is given out as it is.
    """

    def __init__(self, *statuses: RunStatus, bank: str = "", echoes: bool = True) -> None:
        self.statuses = list(statuses)
        self.bank = bank
        self.echoes = echoes
        self.calls: list[tuple[Any, ...]] = []
        self.said: dict[int, Ready] = {}
        self.joined: RunStatus | FraudFedError | None = None
        self.handed: list[bytes] = []
        self.signatures: list[str] = []
        self.gives: list[tuple[HandoverSignatures, bytes] | None] = []

    def run(self, run_id: str, **wait: Any) -> RunStatus:
        self.calls.append(("run", wait.get("while_state"), wait.get("while_generation")))
        return self._next()

    def join(self, run_id: str, body: Join) -> RunStatus:
        self.calls.append(("join",))
        assert self.joined is not None
        if isinstance(self.joined, FraudFedError):
            raise self.joined
        if body.key is not None and body.signature is not None:
            self.said[0] = Ready(step=0, key=body.key, signature=body.signature)
        return self._echoed(self.joined)

    def become_ready(self, run_id: str, generation: int, body: Ready) -> RunStatus:
        self.calls.append(("ready", generation, body.step, body.more_rows))
        self.said[generation] = body
        return self._next()

    def decline(self, run_id: str, generation: int) -> RunStatus:
        self.calls.append(("decline", generation))
        return self._next()

    def put_handover(
        self, run_id: str, generation: int, content: bytes, *, signature: str
    ) -> HandoverReceipt:
        self.calls.append(("put", generation))
        self.handed.append(content)
        self.signatures.append(signature)
        return HandoverReceipt(run_id=run_id, generation=generation, sha256="0" * 64)

    def handover(
        self, run_id: str, generation: int, *, wait_seconds: float
    ) -> tuple[HandoverSignatures, bytes] | None:
        self.calls.append(("handover", generation))
        return self.gives.pop(0)

    def _next(self) -> RunStatus:
        return self._echoed(self.statuses.pop(0))

    def _echoed(self, status: RunStatus) -> RunStatus:
        told = status.generation
        said = self.said.get(told.number)
        if not self.echoes or said is None or self.bank not in told.banks:
            return status
        if status.state is RunState.OPEN and self.bank not in status.members:
            return status
        mine = ReadyBank(bank=self.bank, **said.model_dump())
        others = [one for one in told.ready if one.bank != self.bank]
        ready = tuple(sorted((*others, mine), key=lambda one: one.bank))
        return status.model_copy(update={"generation": told.model_copy(update={"ready": ready})})


def signed_by(signatures: dict[str, str]) -> HandoverSignatures:
    """Return the signatures of banks over a handover, by name."""
    return HandoverSignatures(
        signatures=tuple(
            HandoverSignature(bank=bank, signature=signatures[bank]) for bank in sorted(signatures)
        )
    )
