"""A contract that no bank's file, CSV header or model could meet is no message at all."""

import contextlib
import unicodedata
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.table import FeatureSchema, check_schema
from fraudfed.column_names import category_fault, column_fault, feature_fault, twins
from fraudfed.errors import ConfigurationError, DataError, ProtocolError
from fraudfed.wire.messages import DataContract, FeatureSpec, RunSpec, parse

#: One millisecond: what a JSON number of 2026 in milliseconds is, instead of seconds.
MILLISECONDS_2026 = 1_767_225_600_000


def table(*names: str, **settings: Any) -> dict[str, Any]:
    return {"kind": "table", "features": [{"name": name} for name in names], **settings}


def transactions(**settings: Any) -> dict[str, Any]:
    features = [{"name": "amount"}]
    return {"kind": "transactions", "recipe": "r-1", "features": features, **settings}


def windows(
    train: int, select: int | None = None, judge: int | None = None, **settings: Any
) -> dict[str, Any]:
    """Return a contract with cut-offs on these days."""
    days = {"train_until": train, "select_until": select, "judge_until": judge}
    cutoffs = {name: day * 86_400 for name, day in days.items() if day is not None}
    return transactions(**cutoffs, **settings)


def channel(*categories: str) -> dict[str, Any]:
    return {
        "kind": "table",
        "features": [{"name": "channel", "type": "categorical", "categories": list(categories)}],
    }


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (table("amount [EUR]"), r"'amount \[EUR\]' contains '\[', which XGBoost"),
        (table("hour", "p<0.05"), "'p<0.05' contains '<', which XGBoost"),
        (table("x]"), "XGBoost"),
        (table("   "), "'   ' is empty"),
        (table(""), "name is ''"),
        (table("two\nlines"), r"contains '\\n', which no header can hold"),
        (table("nul\0"), r"contains '\\x00', which no header can hold"),
        (table("\ufeffamount"), r"contains '\\ufeff', which no header can hold"),
        (table("n" * 201), "at most 200 characters"),
        (table("a", "b", "a"), "feature names must be distinct"),
        (table("caf\u00e9", "cafe\u0301"), "look the same"),
        (table("a", "is_fraud"), "'is_fraud' is a feature and the label at once"),
        (table("a", "w", weight="w"), "'w' is a feature and the weight at once"),
        (table("a", label="w", weight="w"), "'w' is the label and the weight at once"),
        (table("a", label=""), "label is ''"),
        (table("a", weight="one\rtwo"), "which no header can hold"),
        (channel("pos", ""), "category '' is empty"),
        (channel("pos", "pos"), "categories must be distinct"),
        (channel("Z\u00fcrich", "Zu\u0308rich"), "one text that is written in two ways"),
        (channel("a\0b"), "no file of text can hold"),
        (channel("x" * 1001), "1001 characters"),
        (table("a", train_until=86_400), "for kind 'transactions' only"),
        (table("a", label_horizon_days={"days": 7}), "label_horizon_days is for kind 'trans"),
        (table("a", risk_delay_days=1), "risk_delay_days is for kind 'transactions' only"),
        (table("a", risk_publication_lag_days=0), "lag_days is for kind 'transactions' only"),
        (table("a", gap_days=1), "gap_days is for kind 'transactions' only"),
        (table("a", exclude_known_compromised=True), "for kind 'transactions' only"),
        (table("a", alerts_per_day=5), "alerts_per_day is for kind 'transactions' only"),
        (transactions(alerts_per_day=0), "greater than or equal to 1"),
        (table("a", judge_until=86_400), "judge_until is for kind 'transactions' only"),
        (table("a", shared_risk=["a" * 64]), "for kind 'transactions' only"),
        (transactions(train_from=200, train_until=100), "200 does not lie before train_until 100"),
        (transactions(train_from=100, train_until=100), "does not lie before"),
        (
            transactions(train_from=0, train_until=86_400, label_horizon_days={"days": 1}),
            "no event lies between train_from",
        ),
        (transactions(train_until=86_400), "no event lies between train_from"),
        (transactions(select_until=86_400), "select_until needs train_until"),
        (transactions(judge_until=86_400), "judge_until needs train_until"),
        (windows(100, 100), "select_until 8640000 does not lie after train_until 8640000"),
        (windows(100, 140, 139), "judge_until 12009600 does not lie after select_until 12096000"),
        (windows(100, None, 90), "judge_until 7776000 does not lie after train_until 8640000"),
        (windows(100, 130), "no event lies between train_until .* and select_until 11232000"),
        (windows(100, 131, gap_days=1), "between train_until plus gap_days 1 .* and select_until"),
        (windows(100, 140, 170), "no event lies between select_until .* and judge_until 14688000"),
        (windows(100, None, 133, gap_days=3), "between train_until plus gap_days 3"),
        (transactions(label_horizon_days={"by_channel": {"cheque": 3}}), "by_channel.cheque"),
        (transactions(label_horizon_days={"by_channel": {"pos": 1001}}), "1000"),
        (transactions(risk_delay_days=-1), "greater than or equal to 0"),
        (transactions(gap_days=1001), "less than or equal to 1000"),
        (transactions(train_until=MILLISECONDS_2026), "less than or equal to"),
        (transactions(train_from=-1), "greater than or equal to 0"),
        (transactions(shared_risk=["a" * 64, "a" * 64]), "twice"),
    ],
)
def test_what_no_bank_can_meet_is_refused_with_its_reason(
    contract: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProtocolError, match=message) as refused:
        parse(DataContract, contract, source="contract.json")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    spec = {"name": "r", "key_epoch": 1, "contract": contract}
    with pytest.raises(ConfigurationError, match=r"run\.json: RunSpec\.contract"):
        parse(RunSpec, spec, source="run.json", refusal=ConfigurationError)


@pytest.mark.parametrize(
    "contract",
    [
        table("amount, EUR", 'say "x"', "Betrag \u20ac", " padded ", "\u0645\u0628\u0644\u063a"),
        table("a", label="Class [0/1]"),
        channel("NA", "null", "two\nlines", "[x]", " pos", "pos"),
        transactions(train_from=0, train_until=86_401, label_horizon_days={"days": 1}),
        windows(100, 132, 164, gap_days=1),
        windows(100, 131, label_horizon_days={"by_channel": {"transfer": 395}}),
        windows(100, 104, 108, label_horizon_days={"by_channel": {"pos": 3}}),
        transactions(exclude_known_compromised=True, risk_publication_lag_days=0),
        transactions(alerts_per_day=1_000),
    ],
)
def test_whatever_files_and_models_can_hold_is_accepted(contract: dict[str, Any]) -> None:
    parsed = parse(DataContract, contract, source="contract.json")
    assert parse(DataContract, parsed.model_dump_json(), source="again") == parsed


def test_text_that_is_no_json_stays_a_fault_of_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="Invalid JSON"):
        parse(RunSpec, b"{", source="body", refusal=ConfigurationError)


def xgboost_accepts(names: list[str]) -> bool:
    data = xgboost.DMatrix(np.zeros((1, len(names)), dtype=np.float32))
    with contextlib.suppress(ValueError, UnicodeEncodeError):
        data.feature_names = names
        return data.feature_names == names
    return False


@settings(max_examples=200)
@given(st.text(st.sampled_from('ab[]<> ,"\\\n\0\ufeff\u00e9\u2028\ud800\x7f'), max_size=4))
def test_every_name_that_is_accepted_is_one_for_xgboost(name: str) -> None:
    if feature_fault(name) is None:
        assert xgboost_accepts([name])
        assert column_fault(name) is None
        check_schema(FeatureSchema(names=(name,), n_categories=(0,)))
    else:
        with pytest.raises(DataError):
            check_schema(FeatureSchema(names=(name,), n_categories=(0,)))


@given(st.lists(st.text(st.sampled_from("ae\u0301\u00e9 "), max_size=3), max_size=4, unique=True))
def test_twins_are_what_unicode_calls_equal(texts: list[str]) -> None:
    pair = twins(texts)
    forms = [unicodedata.normalize("NFC", text) for text in texts]
    assert (pair is not None) == (len(set(forms)) < len(forms))
    if pair is not None:
        one, other = pair
        assert one != other
        assert unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


@given(st.text(max_size=5))
def test_a_category_comes_back_from_its_message(text: str) -> None:
    if category_fault(text) is None:
        spec = FeatureSpec(name="c", type="categorical", categories=(text,))
        assert FeatureSpec.model_validate_json(spec.model_dump_json()) == spec
