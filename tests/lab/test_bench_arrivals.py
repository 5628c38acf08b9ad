"""``fraudfed bench arrivals``, small: a real service that is killed in the middle."""

import json

import pytest
from click.testing import CliRunner

from fraudfed.cli import cli
from fraudfed.lab.bench.serve import arrivals

SMALL = ("--customers", "100", "--days", "111", "--trees", "10", "--max-depth", "3")


def run(*options: str) -> dict[str, float]:
    found = CliRunner().invoke(
        cli, ["bench", "arrivals", "--json", *SMALL, *options], catch_exceptions=False
    )
    assert found.exit_code == 0, found.output
    figures: dict[str, float] = json.loads(found.stdout)
    return figures


@pytest.mark.e2e
def test_batch_and_online_are_the_same_over_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_AT_ONCE", 100)
    figures = run("--payments", "700", "--late-per-mille", "100")
    assert figures["payments"] == 700
    assert figures["late"] > 0
    assert figures["restarts"] == 1
    assert figures["wrong_scores"] == figures["wrong_reasons"] == figures["wrong_batch_rows"] == 0
    # Control: the comparison sees what order does to a score.
    assert figures["share_different"] > 0
