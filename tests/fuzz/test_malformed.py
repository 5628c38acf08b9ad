"""Ten thousand malformed requests bring no 5xx: both services, as applications and as processes.

The suite sends fewer of them; ``make fuzz`` sends all.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attack_kit.malformed import Grammar, Malformed, attack, judge, send
from federations.fake_banks import make_spec
from flask import Flask
from serving_kit.scored_bank import RUN, contract, make_bank, payments

from aggregator.config import ServiceConfig
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app as create_aggregator
from aggregator.service.app import declared_endpoints as aggregator_endpoints
from aggregator.service.state_directory import StateDirectory as AggregatorState
from bank_node.decisions.log import DecisionLog
from bank_node.outcomes.history import LabelHistory
from bank_node.service.api.handle import MOST_BODY_BYTES, Limits
from bank_node.service.app import create_app, declared_endpoints
from bank_node.service.loading import Sources
from bank_node.service.looking_up import LookupDesk
from bank_node.service.pages.server import add_pages
from bank_node.service.scoring import ScoringService
from bank_node.serving.store.arrival import StoreTerms
from bank_node.serving.store.open import open_store
from fraudfed.http.server.rates import Rates

BRIEFLY = 1_500
AT_LENGTH = 5_000
TOKEN = "x" * 40
PAYMENT: dict[str, Any] = {
    **{
        name: value
        for name, value in payments(5, 1).to_dict("records")[0].items()
        if name not in ("label_time", "is_fraud")
    },
    **{"payee_id": "p", "payer_id": "q", "currency": "GBP", "direction": "outbound"},
    **{"latitude": 51.5, "longitude": 0.1, "own": {"a": 1, "b": "x"}},
}
LABEL = {
    **{"transaction_id": PAYMENT["transaction_id"], "status": "reported", "source": "customer"},
    **{"time": PAYMENT["event_time"] + 5, "payment": PAYMENT, "fraud_kind": "x"},
}
BODIES: dict[str, Any] = {
    "/v1/score": PAYMENT,
    "/v1/payments": {"payments": [PAYMENT, PAYMENT], "reasons": False},
    "/v1/observe": PAYMENT,
    "/v1/labels": {"labels": [LABEL]},
    "/v1/swap": {"run_id": RUN},
    "/v1/payments/{transaction_id}/confirm": {"time": PAYMENT["event_time"]},
    "/v1/risk/lookup": {
        **{"entity": "payee", "identifiers": ["GB29NWBK60161331926819", "x"]},
        **{"purpose": "p", "who": "w"},
    },
}
PAGES = (("GET", "/pages/"), ("GET", "/pages/{page}"), ("POST", "/pages/approve"), ("GET", "/"))


def addresses(endpoints: Any) -> list[tuple[str, str]]:
    return [
        (one.method, one.prefix + one.rule.replace("<number:", "<").translate({60: "{", 62: "}"}))
        for one in endpoints
    ]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    state = make_bank(tmp_path_factory.mktemp("bank"))
    terms = StoreTerms.of(contract(), allowed_lateness_seconds=86_400)
    scoring = ScoringService(
        Sources(state, RUN),
        terms,
        open_store("memory:", terms, secret=bytes(32)),
        DecisionLog(state.serving_path / "decisions", state.vault),
        LabelHistory(state.serving_path / "outcomes", state.vault),
        state.serving_path,
        deadline_seconds=5.0,
    )
    app = create_app(scoring, Limits(TOKEN, Rates(1e9)), lookups=LookupDesk(state))
    add_pages(app, state, passphrase=None)
    yield app
    scoring.close()


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Flask, str]]:
    state = AggregatorState(tmp_path_factory.mktemp("aggregator") / "state")
    state.create(None)
    store = state.open_store()
    config = ServiceConfig(
        insecure_allow_small_keys=True,
        max_json_bytes=16 * 1024,
        max_body_bytes=64 * 1024,
        requests_per_second=1e6,
        anonymous_requests_per_second=1e6,
    )
    yield create_aggregator(config, store, Waiters()), state.operator_token.read_text().strip()
    store.close()


def bank_grammar(seed: int) -> Grammar:
    known = [*addresses(declared_endpoints()), *PAGES]
    return Grammar(seed, known, BODIES, {"Authorization": f"Bearer {TOKEN}"})


def aggregator_grammar(seed: int, token: str) -> Grammar:
    known = [*addresses(aggregator_endpoints()), *PAGES]
    bodies = {
        **{"/v1/runs": make_spec(), "/v1/banks": {"name": "a"}, "/v1/invites": {"name": "a"}},
        "/v1/runs/{run_id}/abort": {"reason": "x"},
    }
    return Grammar(seed, known, bodies, {"Authorization": f"Bearer {token}"})


def statuses(found: Counter[tuple[str, int]]) -> set[int]:
    return {status for _, status in found}


def test_malformed_requests_to_the_scoring_service_briefly(bank: Flask) -> None:
    found = attack(bank, bank_grammar(1), BRIEFLY)
    # It does not only knock at the door.
    assert {200, 303, 400, 401, 404, 405, 409, 413, 415, 422} - {413} <= statuses(found)


def test_malformed_requests_to_the_aggregator_briefly(aggregator: tuple[Flask, str]) -> None:
    app, token = aggregator
    found = attack(app, aggregator_grammar(1, token), BRIEFLY)
    assert {200, 400, 401, 404, 405, 413, 415} <= statuses(found)


@pytest.mark.fuzz
def test_malformed_requests_at_length(bank: Flask, aggregator: tuple[Flask, str]) -> None:
    app, token = aggregator
    found = attack(bank, bank_grammar(2), AT_LENGTH)
    found += attack(app, aggregator_grammar(2, token), AT_LENGTH)
    by_status: Counter[int] = Counter()
    for (_, status), number in found.items():
        by_status[status] += number
    print(f"{found.total()} requests, by status: {dict(sorted(by_status.items()))}")


def test_control_the_attack_notices_a_server_error(
    bank: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ScoringService, "observe", broken)
    with pytest.raises(AssertionError, match="500"):
        attack(bank, bank_grammar(3), BRIEFLY)


def test_above_the_limits_of_size_and_rate(bank: Flask, tmp_path: Path) -> None:
    headers = (("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "application/json"))
    large = Malformed("size", "POST", "/v1/score", headers, b" " * (MOST_BODY_BYTES + 1))
    status, kept, body = send(bank, large)
    judge(large, status, kept, body)
    assert (status, kept["connection"]) == (413, "close")
    slow = create_app(bank.extensions["scoring"], Limits(TOKEN, Rates(0.1)))
    small = Malformed("rate", "POST", "/v1/score", headers, b"[")
    answers = [send(slow, small) for _ in range(3)]
    assert [status for status, _, _ in answers] == [400, 429, 429]
    assert int(answers[1][1]["retry-after"]) >= 1
