"""``fraudfed bench features``: it measures the same features three times, and says so."""

import json

import numpy as np
import pandas as pd
from click.testing import CliRunner
from oracles.features import DAY, START, table

from fraudfed.catalogue.recipe import FEATURES
from fraudfed.cli import cli
from fraudfed.lab.bench.features import run_features

GROUPS = ["columns", "payment", "customer", "travel", "acquaintance"]
GROUPS += ["terminal", "merchant", "payee"]


def transactions(n_rows: int) -> pd.DataFrame:
    """Payments at distinct seconds, so that pandas' windows see what ours see."""
    rng = np.random.default_rng(0)
    times = START + np.sort(rng.choice(60 * DAY, n_rows, replace=False))
    return table(
        {
            "event_time": int(time),
            "label_time": int(time) + 3 * DAY,
            "customer_id": f"c{rng.integers(5)}",
            "terminal_id": f"e{rng.integers(3)}",
            "amount_minor": int(rng.integers(0, 5000)),
            "is_fraud": int(rng.random() < 0.2),
        }
        for time in times
    )


def test_the_reference_and_the_single_payments_agree() -> None:
    figures = run_features(transactions(300), online_payments=200, repeats=1)
    assert figures.rows == 300
    assert figures.features == len(FEATURES)
    assert figures.reference_equal == 1.0
    assert figures.online_equal
    assert figures.online_payments == 200
    assert list(figures.group_seconds) == GROUPS
    assert figures.seconds == sum(figures.group_seconds.values())
    assert figures.result_bytes == 300 * len(FEATURES) * 4


def test_the_command_reports_what_was_measured() -> None:
    options = ["--customers", "100", "--days", "45", "--online-payments", "50", "--repeats", "1"]
    run = CliRunner().invoke(cli, ["bench", "features", *options, "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.output)
    assert found["rows_per_second"] == found["rows"] / found["seconds"]
    assert found["online_equal"]
    assert found["reference_equal"] > 0.99
    text = CliRunner().invoke(cli, ["bench", "features", *options]).output
    for word in ("rows a second and core", "bytes a row", "pandas", "all equal to the table's"):
        assert word in text
