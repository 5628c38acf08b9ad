"""With the setting ``two_operators``, what cannot be taken back takes two."""

import json
from typing import Any

import pytest
from federations.fake_banks import DocumentedClient, Federation, TestKey
from flask import Flask

from aggregator.caller import Role
from aggregator.config import ServiceConfig
from aggregator.consortium.confirmations import VALID_SECONDS
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.store import Store

#: On SQLite and on PostgreSQL.
STORES = ["sqlite", "postgresql"]

NEEDED = (403, "confirmation-needed")


@pytest.fixture
def app(store: Store, waiters: Waiters) -> Flask:
    config = ServiceConfig(insecure_allow_small_keys=True, two_operators=True)
    return create_app(config, store, waiters)


@pytest.fixture
def alice(federation: Federation) -> str:
    return federation.operator_token


@pytest.fixture
def bob(store: Store) -> str:
    return store.tokens.create("bob", Role.OPERATOR)


@pytest.fixture
def spec(federation: Federation, spec: dict[str, Any]) -> dict[str, Any]:
    for name in ("bank-a", "bank-b", "bank-c"):
        federation.register(name)
    federation.make_epoch()
    return spec


def _create(federation: Federation, token: str, spec: dict[str, Any]) -> Any:
    return federation.call("POST", "/v1/runs", json=spec, token=token)


def _runs(federation: Federation) -> int:
    return len(federation.operate("GET", "/v1/runs").json()["runs"])


def test_a_run_is_opened_by_two(
    federation: Federation, alice: str, bob: str, spec: dict[str, Any]
) -> None:
    for token in (alice, alice, alice):
        assert _create(federation, token, spec).problem() == NEEDED
    assert _runs(federation) == 0
    assert _create(federation, bob, spec).status == 201
    assert _runs(federation) == 1
    # A pair has one effect: the next one begins anew, from either operator.
    assert _create(federation, bob, spec).problem() == NEEDED
    assert _create(federation, alice, spec).status == 201
    assert _runs(federation) == 2


def test_another_content_confirms_nothing(
    federation: Federation, alice: str, bob: str, spec: dict[str, Any]
) -> None:
    assert _create(federation, alice, spec).problem() == NEEDED
    other = {**spec, "parameters": {"eta": 0.31}}
    assert _create(federation, bob, other).problem() == NEEDED
    assert _runs(federation) == 0
    # The spaces of a body are no content.
    body = json.dumps(spec, indent=3).encode()
    headers = {"Content-Type": "application/json"}
    answer = federation.call("POST", "/v1/runs", body=body, headers=headers, token=bob)
    assert answer.status == 201


def test_a_bank_is_dropped_and_removed_by_two(
    federation: Federation, alice: str, bob: str, spec: dict[str, Any]
) -> None:
    _create(federation, alice, spec)
    run_id = _create(federation, bob, spec).json()["run_id"]
    drop = {"bank": "bank-c", "reason": "away"}
    path = f"/v1/runs/{run_id}/drops"
    assert federation.call("POST", path, json=drop, token=alice).problem() == NEEDED
    other = {"bank": "bank-b", "reason": "away"}
    assert federation.call("POST", path, json=other, token=bob).problem() == NEEDED
    # Confirmed, and then refused for what it is: too few would be left.
    assert federation.call("POST", path, json=drop, token=bob).problem() == (409, "conflict")
    assert federation.call("DELETE", "/v1/banks/bank-c", token=alice).problem() == NEEDED
    assert federation.call("DELETE", "/v1/banks/bank-b", token=bob).problem() == NEEDED
    names = [one["name"] for one in federation.operate("GET", "/v1/roster").json()["members"]]
    assert names == ["bank-a", "bank-b", "bank-c"]
    left = federation.call("DELETE", "/v1/banks/bank-c", token=bob)
    assert [one["name"] for one in left.json()["members"]] == ["bank-a", "bank-b"]


def test_after_a_day_it_is_asked_anew(
    federation: Federation,
    store: Store,
    alice: str,
    bob: str,
    spec: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr(store.confirmations, "_clock", lambda: now[0])
    assert _create(federation, alice, spec).problem() == NEEDED
    now[0] += VALID_SECONDS
    assert _create(federation, bob, spec).problem() == NEEDED
    now[0] += VALID_SECONDS - 1
    assert _create(federation, alice, spec).status == 201


def test_both_stand_in_the_audit_log(
    federation: Federation, store: Store, alice: str, bob: str, spec: dict[str, Any]
) -> None:
    _create(federation, alice, spec)
    _create(federation, bob, spec)
    last = [(one.kind, one.actor, one.status.value) for one in store.audit.entries()][-3:]
    assert last == [
        ("asked", "operator:operator", "accepted"),
        ("confirmed", "operator:bob", "accepted"),
        ("run-created", "operator:bob", "accepted"),
    ]
    assert "asked for by operator:operator" in store.audit.entries()[-2].detail


def test_a_viewer_and_a_bank_confirm_nothing(
    federation: Federation, store: Store, alice: str, spec: dict[str, Any]
) -> None:
    viewer = store.tokens.create("eve", Role.VIEWER)
    assert _create(federation, alice, spec).problem() == NEEDED
    assert _create(federation, viewer, spec).problem() == (403, "forbidden")
    answer = federation["bank-a"].request("POST", "/v1/runs", json=spec)
    assert answer.problem() == (403, "forbidden")
    assert _runs(federation) == 0


def test_control_without_the_setting_one_is_enough(
    store: Store, waiters: Waiters, federation: Federation, key: TestKey, spec: dict[str, Any]
) -> None:
    config = ServiceConfig(insecure_allow_small_keys=True)
    alone = Federation(
        DocumentedClient(create_app(config, store, waiters)), federation.operator_token, key
    )
    assert _create(alone, alone.operator_token, spec).status == 201
