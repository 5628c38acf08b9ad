"""Good requests to a real aggregator, for tests to change or repeat."""

from typing import Any

import httpx
from federations.fake_banks import FakeBank, make_spec
from federations.live import LiveFederation


def contribution(
    live: LiveFederation, bank: FakeBank, *, signer: FakeBank | None = None, **options: Any
) -> httpx.Request:
    """Return a good request that changes something, unless another bank signs it."""
    path = f"/v1/runs/{bank.run_id}/rounds/0/contributions"
    body = bank.contribution(0, [1, 2, 3])
    return live.signed(signer or bank, "POST", path, body=body, **options)


def unsigned(request: httpx.Request) -> httpx.Request:
    for name in ("signature", "signature-input"):
        request.headers.pop(name, None)
    return request


def operator_work(run_id: str) -> list[tuple[str, str, object]]:
    return [
        ("POST", "/v1/invites", {"name": "bank-x", "valid_seconds": 60}),
        ("DELETE", "/v1/banks/bank-a", None),
        ("POST", "/v1/runs", make_spec()),
        ("POST", f"/v1/runs/{run_id}/abort", {"reason": "stop"}),
    ]
