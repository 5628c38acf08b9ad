"""An aggregator that says what a test wants it to, in an order no real one can be brought to."""

from typing import Any

from fraudfed.errors import FraudFedError
from fraudfed.wire.messages import HandoverReceipt, Ready, RunStatus


class Script:
    """An aggregator that answers with one status after the other, and keeps what it is asked."""

    def __init__(self, *statuses: RunStatus) -> None:
        self.statuses = list(statuses)
        self.calls: list[tuple[Any, ...]] = []
        self.joined: RunStatus | FraudFedError | None = None
        self.handed: list[bytes] = []
        self.gives: list[bytes | None] = []

    def run(self, run_id: str, **wait: Any) -> RunStatus:
        self.calls.append(("run", wait.get("while_state"), wait.get("while_generation")))
        return self.statuses.pop(0)

    def join(self, run_id: str) -> RunStatus:
        self.calls.append(("join",))
        assert self.joined is not None
        if isinstance(self.joined, FraudFedError):
            raise self.joined
        return self.joined

    def become_ready(self, run_id: str, generation: int, body: Ready) -> RunStatus:
        self.calls.append(("ready", generation, body.step, body.more_rows))
        return self.statuses.pop(0)

    def decline(self, run_id: str, generation: int) -> RunStatus:
        self.calls.append(("decline", generation))
        return self.statuses.pop(0)

    def put_handover(self, run_id: str, generation: int, content: bytes) -> HandoverReceipt:
        self.calls.append(("put", generation))
        self.handed.append(content)
        return HandoverReceipt(run_id=run_id, generation=generation, sha256="0" * 64)

    def handover(self, run_id: str, generation: int, *, wait_seconds: float) -> bytes | None:
        self.calls.append(("handover", generation))
        return self.gives.pop(0)
