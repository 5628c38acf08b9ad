"""``fraudfed bench serve`` counts a wrong answer wrong, and none of a real service."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from fraudfed.cli import cli
from fraudfed.lab.bench.serve.measure import is_right

ANSWER: dict[str, Any] = {"step": "full", "margin": -2.5, "score": 0.07585818}


def test_an_answer_is_right_by_margin_score_and_step() -> None:
    assert is_right(ANSWER, score=0.07585818, margin=-2.5)


@pytest.mark.parametrize(
    "change",
    [{"step": "no-state"}, {"margin": -2.4999998}, {"score": 0.0758590}, {"score": None}],
)
def test_a_wrong_answer_is_wrong(change: dict[str, Any]) -> None:
    assert not is_right({**ANSWER, **change}, score=0.07585818, margin=-2.5)


@pytest.mark.e2e
def test_a_real_service_answers_as_xgboost_does() -> None:
    options = ["--seconds", "2", "--rate", "50", "--customers", "150", "--days", "60"]
    found = CliRunner().invoke(cli, ["bench", "serve", "--json", "--trees", "5", *options])
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    assert figures["payments"] == 100
    assert figures["wrong_answers"] == 0
    assert figures["without_reasons"] < 100
    assert figures["p99_ms"] >= figures["p50_ms"] > 0
    assert figures["batch_rows_per_second_and_core"] > 0
