"""Tokens end by themselves."""

import time
from pathlib import Path

import pytest
from federations.fake_banks import Federation
from federations.server_process import run_command
from flask import Flask

from aggregator.caller import Role
from aggregator.consortium.tokens import DEFAULT_DAYS, Tokens
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store

_DAY = 86_400


def _made_before(store: Store, age: float, **options: int) -> str:
    past = Tokens(store.database, store.audit, clock=lambda: time.time() - age * _DAY)
    return past.create("alice", Role.OPERATOR, **options)


@pytest.mark.parametrize(("age", "days"), [(DEFAULT_DAYS + 0.1, DEFAULT_DAYS), (7.01, 7)])
def test_a_token_that_has_expired_is_refused(
    federation: Federation, store: Store, age: float, days: int
) -> None:
    token = _made_before(store, age, days=days)
    answer = federation.call("GET", "/v1/runs", token=token)
    assert answer.problem() == (401, "authentication")
    assert "token 'alice' has expired on 20" in answer.json()["detail"]
    assert "tokens create" in answer.json()["detail"]
    assert token not in answer.body.decode()


@pytest.mark.parametrize(("age", "days"), [(DEFAULT_DAYS - 0.1, DEFAULT_DAYS), (6.99, 7)])
def test_until_then_it_is_taken(
    federation: Federation, store: Store, age: float, days: int
) -> None:
    token = _made_before(store, age, days=days)
    assert federation.call("GET", "/v1/runs", token=token).status == 200


def test_control_without_the_clock_an_old_token_is_taken(
    app: Flask, federation: Federation, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = _made_before(store, 1000)
    monkeypatch.setattr(store.tokens, "_clock", lambda: 0.0)
    assert federation.call("GET", "/v1/runs", token=token).status == 200


def test_the_first_token_expires_too(state: StateDirectory) -> None:
    where = ["--state", str(state.path)]
    listed = run_command("tokens", "list", *where).stdout
    made, expires = listed.split("made ")[1].split(", expires ")
    assert time.strptime(made, "%Y-%m-%d %H:%M:%SZ") < time.strptime(
        expires.strip(), "%Y-%m-%d %H:%M:%SZ"
    )
    for days, code in (("0", 2), ("-1", 2), ("3651", 2), ("1", 0)):
        create = ("tokens", "create", *where, "--role", "viewer", "--name", "bob", "--days", days)
        assert run_command(*create).returncode == code


def test_a_token_is_not_renewed_under_its_name(state: StateDirectory, tmp_path: Path) -> None:
    """The audit log names tokens: a name stands for one token."""
    create = ("tokens", "create", "--state", str(state.path), "--role", "operator", "--name")
    assert run_command(*create, "operator").returncode == 8
    assert run_command(*create, "operator-2").returncode == 0
