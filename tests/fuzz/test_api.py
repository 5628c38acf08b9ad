"""Requests made from the OpenAPI document, against a running aggregator: see ``api_fuzz``.

``make fuzz`` runs the long version, at least 5,000 requests.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from attack_kit.api_fuzz import Caller, Fuzzer, FuzzError
from federations.fake_banks import FakeBank
from federations.live import LiveFederation, served

from aggregator.runs.service import RunService
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.signatures import sign_request
from fraudfed.errors import ProtocolError
from fraudfed.wire.messages import FrameKind

#: For each operation, caller, and kind of data (right or wrong).
BRIEFLY = 1
AT_LENGTH = 32


@pytest.fixture(scope="module")
def package() -> KeyPackage:
    return KeyPackage.generate(512, insecure_allow_small_key=True)


@pytest.fixture
def served_consortium(tmp_path: Path, package: KeyPackage) -> Iterator[LiveFederation]:
    """Three banks in a run, of which one has contributed: there is something to break."""
    with served(tmp_path / "aggregator", package, "bank-a", "bank-b", "bank-c") as consortium:
        yield consortium


def clean(request: requests.PreparedRequest) -> None:
    """Take out credentials that were made up: with them nobody would get past the door."""
    for name in ("Authorization", "Signature", "Signature-Input", "Content-Digest"):
        request.headers.pop(name, None)


def signing(bank: FakeBank) -> Caller:
    """Return a caller that signs as a bank does, whatever there is to sign."""

    def sign(request: requests.PreparedRequest) -> None:
        clean(request)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        # What a bank could not sign goes out unsigned, and must be refused.
        try:
            added = sign_request(
                bank.identity,
                keyid=bank.name,
                method=str(request.method),
                url=str(request.url),
                headers={k: v for k, v in request.headers.items() if isinstance(v, str)},
                body=body or None,
                created=int(time.time()),
            )
        except ProtocolError:
            return
        request.headers.update(added)

    return sign


def holding(token: str) -> Caller:
    def authorise(request: requests.PreparedRequest) -> None:
        clean(request)
        request.headers["Authorization"] = f"Bearer {token}"

    return authorise


def make_fuzzer(live: LiveFederation) -> tuple[Fuzzer, str]:
    run_id = live.start_run(1)
    first, second = live["bank-a"], live["bank-b"]
    assert first.post_contribution(0, first.contribution(0, [1, 2, 3])).status == 202
    fuzzer = Fuzzer(
        url=live.url,
        state=live.state,
        callers={
            "nobody": lambda request: None,
            "bank": signing(second),
            "operator": holding(live.operator_token),
            "viewer": holding(live.viewer_token),
        },
        real={
            "run_id": [run_id],
            "number": ["0", "1"],
            "epoch": ["1"],
            "name": ["bank-a", "bank-b"],
            "sha256": ["ab" * 32],
        },
        frames={
            "/contributions": second.contribution(0, [1, 2, 3]),
            "/openings": second.contribution(0, [1, 2, 3], kind=FrameKind.OPENING),
            "/models/{sha256}": b'{"learner": {}}',
        },
    )
    return fuzzer, run_id


def fuzz(live: LiveFederation, per_combination: int, *, at_least: int) -> Fuzzer:
    """Fuzz, and see afterwards that the service still does its work."""
    fuzzer, run_id = make_fuzzer(live)
    while fuzzer.sent < at_least:
        fuzzer.run(per_combination)
    assert requests.get(f"{live.url}/v1/health", timeout=10).json()["status"] == "ok"
    status = live.status(run_id)
    assert status["round_number"] == 0
    # The run goes on where it was, unless the fuzz has hit on a frame that is right.
    if status["state"] == "training":
        third = live["bank-c"]
        body = third.contribution(0, [1, 2, 3])
        assert third.post_contribution(0, body).status == 202
    return fuzzer


def test_fuzz_briefly(served_consortium: LiveFederation) -> None:
    fuzzer = fuzz(served_consortium, BRIEFLY, at_least=150)
    statuses = {status for _, _, status in fuzzer.statuses}
    # It does not only knock at the door.
    assert {200, 400, 401, 403, 404} <= statuses


@pytest.mark.fuzz
def test_fuzz_at_length(served_consortium: LiveFederation) -> None:
    fuzzer = fuzz(served_consortium, AT_LENGTH, at_least=5000)
    by_status: dict[int, int] = {}
    for (_, _, status), count in fuzzer.statuses.items():
        by_status[status] = by_status.get(status, 0) + count
    # Strangers are a quarter of the callers: most of the others' requests get past the door.
    assert by_status[401] < fuzzer.sent / 2
    print(f"{fuzzer.sent} requests, by status: {dict(sorted(by_status.items()))}")


def test_control_the_fuzz_notices_a_server_error(
    served_consortium: LiveFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that breaks is found within the brief version."""
    fuzzer, _ = make_fuzzer(served_consortium)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RunService, "list_runs", broken)
    with pytest.raises(FuzzError, match="500"):
        fuzzer.run(BRIEFLY)


def test_the_long_version_is_not_in_the_normal_suite() -> None:
    """It is chosen by its mark; ``make fuzz`` does."""
    root = Path(__file__).parents[2]
    assert "-m 'not fuzz and not chaos'" in (root / "pyproject.toml").read_text()
    makefile = (root / "Makefile").read_text()
    assert re.search(r"^fuzz:.*\n\t.*-m fuzz ", makefile, flags=re.MULTILINE)
