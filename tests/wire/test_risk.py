"""A run is of one kind and has what belongs to it; a risk run never has a readable result."""

from typing import Any

import pytest

from fraudfed.errors import ProtocolError
from fraudfed.wire.messages import DataContract, RiskEntity, RiskSpec, RunKind, RunSpec, parse

CONTRACT = {"kind": "transactions", "recipe": "r-1", "features": [{"name": "amount"}]}
RISK = {"first_day": 100, "last_day": 130, "delay_days": 7}
TRAINING = {"name": "r", "key_epoch": 1, "parameters": {"eta": 0.3}, "contract": CONTRACT}
RISK_RUN = {
    "name": "r",
    "key_epoch": 1,
    "kind": "risk",
    "risk": RISK,
    "model_visibility": "members",
}


def without(spec: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in names}


def test_a_run_without_a_kind_is_a_training() -> None:
    assert parse(RunSpec, TRAINING, source="test").kind is RunKind.TRAINING
    spec = parse(RunSpec, RISK_RUN, source="test")
    assert spec.kind is RunKind.RISK
    assert spec.contract is None
    assert parse(RunSpec, spec.model_dump_json(), source="test") == spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (without(TRAINING, "contract"), "every other run has one"),
        ({**TRAINING, "risk": RISK}, "a risk run has risk, and no other run"),
        (without(RISK_RUN, "risk"), "a risk run has risk, and no other run"),
        ({**RISK_RUN, "contract": CONTRACT}, "a risk run has no contract"),
        (without(RISK_RUN, "kind"), "a risk run has risk, and no other run"),
        ({**RISK_RUN, "parameters": {"eta": 0.3}}, "no training parameters"),
        ({**RISK_RUN, "model_visibility": "aggregator"}, "model_visibility 'members'"),
        (without(RISK_RUN, "model_visibility"), "model_visibility 'members'"),
        ({**RISK_RUN, "kind": "sketch"}, "kind"),
    ],
)
def test_a_run_of_two_kinds_or_with_readable_tables_is_refused(
    spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(RunSpec, spec, source="test")


def test_what_is_counted_by_default() -> None:
    spec = parse(RiskSpec, RISK, source="test")
    assert spec.entities == tuple(RiskEntity)
    assert (spec.depth, spec.transaction_width, spec.fraud_width) == (4, 4096, 512)
    assert (spec.min_customers, spec.days_per_step) == (3, 7)
    assert parse(RiskSpec, {**RISK, "last_day": 100}, source="test").last_day == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"last_day": 99}, "last_day must not lie before first_day"),
        ({"first_day": -1}, "first_day"),
        ({"last_day": 99_421}, "last_day"),
        ({"delay_days": -1}, "delay_days"),
        ({"transaction_width": 4095}, "power of two"),
        ({"fraud_width": 8}, "fraud_width"),
        ({"depth": 0}, "depth"),
        ({"depth": 17}, "depth"),
        ({"min_customers": 0}, "min_customers"),
        ({"days_per_step": 0}, "days_per_step"),
        ({"entities": []}, "entities"),
        ({"entities": ["payee", "payee"]}, "entities must be distinct"),
        ({"entities": ["customer"]}, "entities"),
    ],
)
def test_what_cannot_be_counted_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(RiskSpec, {**RISK, **changes}, source="test")


def test_only_transactions_name_risk_tables() -> None:
    named = {"shared_risk": ["0" * 64]}
    assert parse(DataContract, {**CONTRACT, **named}, source="test").shared_risk == ("0" * 64,)
    table = {"kind": "table", "features": [{"name": "amount"}]}
    with pytest.raises(ProtocolError, match="shared_risk is for kind 'transactions' only"):
        parse(DataContract, {**table, **named}, source="test")
    with pytest.raises(ProtocolError, match="shared_risk"):
        parse(DataContract, {**CONTRACT, "shared_risk": ["0"]}, source="test")
