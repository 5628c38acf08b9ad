"""``POST /v1/risk/lookup`` of the scoring service, as a process."""

from collections.abc import Iterator

import pandas as pd
import pytest
from examples.risk_states import keep_tables
from oracles.features import START
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, solo_tables
from serving_kit.scored_bank import make_bank
from serving_kit.service_process import ServiceProcess

from bank_node.lookup.look_up import open_log
from bank_node.state.directory import StateDirectory

IBAN = "GB29NWBK60161331926819"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    return make_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def service(state: StateDirectory) -> Iterator[ServiceProcess]:
    with ServiceProcess(state.path) as found:
        yield found


def test_accounts_are_looked_up_over_http_and_logged(
    service: ServiceProcess, state: StateDirectory
) -> None:
    rows = pd.DataFrame(
        {
            "event_time": [START] * 2,
            "customer_id": ["a", "b"],
            "payee_id": [IBAN] * 2,
            "is_fraud": [1, 0],
            "label_time": [START + 60] * 2,
        }
    )
    spec = risk_spec(delay_days=0, first_day=FIRST_DAY, last_day=FIRST_DAY + 30)
    asked = {
        "entity": "payee",
        "identifiers": ["GB29 NWBK 6016 1331 9268 19", "other"],
        "purpose": "before a payment",
        "who": "gateway",
    }
    # Tables that come while the service runs are found by the next look-up.
    keep_tables(state, "zz-risk", solo_tables(rows, spec), KEY)
    answer = service.post("/v1/risk/lookup", asked)
    assert answer.status_code == 200, answer.text
    one, other = answer.json()["found"]
    assert one["identifier"] == IBAN
    # The window of 30 days ends on the last day of the tables, without the first day.
    assert [each["frauds"]["known"] for each in one["windows"]] == [False] * 3
    assert other["windows"][2]["missing_days"] == 0
    (logged,) = open_log(state).all()
    assert (logged.who, logged.identifiers) == ("gateway", (IBAN, "other"))


@pytest.mark.parametrize(
    "change",
    [
        {"entity": "customer"},
        {"identifiers": []},
        {"identifiers": [" "]},
        {"identifiers": ["1.2E+15"]},
        {"purpose": ""},
        {"identifiers": ["x"] * 1001},
    ],
)
def test_a_wrong_look_up_is_a_problem_document(
    service: ServiceProcess, change: dict[str, object]
) -> None:
    asked = {"entity": "payee", "identifiers": ["x"], "purpose": "p", "who": "w", **change}
    answer = service.post("/v1/risk/lookup", asked)
    assert 400 <= answer.status_code < 500
    assert answer.headers["Content-Type"] == "application/problem+json"
