"""The description of a monitor run."""

import pytest
from pydantic import ValidationError

from fraudfed.wire.messages import MonitorSpec, RunKind, RunSpec

DAY = 86_400
UNTIL = 20_000 * DAY
SPEC = {"model_run": "r0", "model_sha256": "ab" * 32, "until": UNTIL}
RUN = {
    "name": "watch",
    "key_epoch": 1,
    "kind": "monitor",
    "contract": {"kind": "transactions", "recipe": "any", "features": [{"name": "x"}]},
    "monitor": SPEC,
    "model_visibility": "members",
}


def test_a_monitor_run_has_a_model_and_weeks() -> None:
    spec = RunSpec.model_validate(RUN)
    assert spec.kind is RunKind.MONITOR
    assert spec.monitor == MonitorSpec(**SPEC)
    found = MonitorSpec(**SPEC)
    assert (found.reference_weeks, found.alert_score, found.min_count) == (12, 0.5, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"monitor": None}, "a monitor run has monitor"),
        ({"kind": "training"}, "a monitor run has monitor"),
        ({"contract": None}, "every other run has one"),
        ({"parameters": {"eta": 1}}, "no training parameters"),
        ({"model_visibility": "aggregator"}, "are for members"),
        ({"monitor": {**SPEC, "reference_until": UNTIL - DAY}}, "at least a week before"),
        ({"monitor": {**SPEC, "reference_until": UNTIL - 400 * DAY}}, "at most 52 weeks"),
        ({"monitor": {**SPEC, "reference_weeks": 5}}, "reference_weeks"),
        ({"monitor": {**SPEC, "alert_score": 1.0}}, "alert_score"),
        ({"monitor": {**SPEC, "model_sha256": "x"}}, "model_sha256"),
        ({"monitor": {**SPEC, "weeks": 3}}, "weeks"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RunSpec.model_validate({**RUN, **changes})
