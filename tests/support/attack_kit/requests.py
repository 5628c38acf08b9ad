"""Good requests to a real aggregator, for tests to change or repeat."""

import httpx
from federations.live import LiveBank, LiveConsortium


def contribution(live: LiveConsortium, bank: LiveBank, run_id: str) -> httpx.Request:
    """Return a good request that changes something."""
    return live.signed(
        bank,
        "POST",
        f"/v1/runs/{run_id}/rounds/0/contributions",
        body=live.contribution(bank, run_id),
    )


def unsigned(request: httpx.Request) -> httpx.Request:
    for name in ("signature", "signature-input"):
        request.headers.pop(name, None)
    return request


def operator_work(live: LiveConsortium, run_id: str) -> list[tuple[str, str, object]]:
    return [
        ("POST", "/v1/invites", {"name": "bank-x", "valid_seconds": 60}),
        ("DELETE", "/v1/banks/bank-a", None),
        ("POST", "/v1/runs", live.spec(1)),
        ("POST", f"/v1/runs/{run_id}/abort", {"reason": "stop"}),
    ]
