"""A statistics run has a contract and what it counts, and its result is for members."""

from typing import Any

import pytest

from fraudfed.errors import ProtocolError
from fraudfed.wire.messages import RiskEntity, RunKind, RunSpec, StatisticsSpec, parse

CONTRACT = {"kind": "table", "features": [{"name": "amount"}]}
RUN: dict[str, Any] = {
    "name": "r",
    "key_epoch": 1,
    "kind": "statistics",
    "contract": CONTRACT,
    "statistics": {},
    "model_visibility": "members",
}


def test_a_statistics_run_is_read_back() -> None:
    spec = parse(RunSpec, RUN, source="test")
    assert spec.kind is RunKind.STATISTICS
    assert spec.statistics == StatisticsSpec()
    assert (StatisticsSpec().min_count, StatisticsSpec().min_customers) == (10, 3)
    assert StatisticsSpec().entities == tuple(RiskEntity)
    assert parse(RunSpec, spec.model_dump_json(), source="test") == spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statistics": None}, "a statistics run has statistics"),
        ({"kind": "training"}, "a statistics run has statistics"),
        ({"contract": None}, "every other run has one"),
        ({"risk": {"first_day": 1, "last_day": 2, "delay_days": 0}}, "no other run has"),
        ({"parameters": {"eta": 0.1}}, "no training parameters"),
        ({"model_visibility": "aggregator"}, "for members"),
        ({"statistics": {"width": 1000}}, "power of two"),
        ({"statistics": {"min_count": 0}}, "min_count"),
        ({"statistics": {"min_customers": 0}}, "min_customers"),
        ({"statistics": {"entities": ["payee", "payee"]}}, "distinct"),
        ({"statistics": {"entities": ["customer"]}}, "entities"),
        ({"statistics": {"bins": 3}}, "bins"),
    ],
)
def test_what_is_no_statistics_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(RunSpec, {**RUN, **changes}, source="test")
