"""The audit of whole trainings: nothing that is opened says more of a row than is claimed.

Noise is drawn from fixed keys, so that no test can fail by chance.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult
from fraudfed.communicator import DrawNoise
from fraudfed.dtypes import Int64Array
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.lab.privacy import whole_training
from fraudfed.lab.privacy.whole_training import (
    TrainingAuditFigures,
    audit_training,
    audit_training_command,
)
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.noise.sampler import sample
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit, TrainingWay

PARAMS = BoosterParams(
    num_boost_round=3, max_depth=2, max_bin=8, min_child_weight=0, max_delta_step=1
)
WAYS = tuple(TrainingWay)


def fixed_noise() -> DrawNoise:
    """Return what draws other noise each time, and the same in each run of the tests."""
    numbers: Iterator[int] = count()

    def draw(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
        key = hashlib.sha256(str(next(numbers)).encode()).digest()
        return sample(np.broadcast_to(np.asarray(release.variance, dtype=np.int64), shape), key)

    return draw


def no_noise(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    return np.zeros(shape, dtype=np.int64)


def audited(
    way: TrainingWay,
    *,
    trials: int,
    canary_rows: int = 1,
    draw_noise: DrawNoise | None = None,
    **changed: Any,
) -> TrainingAuditFigures:
    terms = PrivacyTerms(
        epsilon=3.0,
        way=way,
        features_per_tree=2,
        tolerated_colluders=1,
        declared_rows=1000,
        **changed,
    )
    table = synthetic_table(120, 3, np.random.default_rng(5), prevalence=0.1)
    return audit_training(
        PARAMS,
        terms,
        replace(table, customers=np.arange(table.n_rows) % 40),
        trials=trials,
        canary_rows=canary_rows,
        draw_noise=draw_noise or fixed_noise(),
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_training_opens_no_more_than_it_claims(way: TrainingWay) -> None:
    figures = audited(way, trials=3)
    assert figures.exact_leaks == ()
    assert figures.largest_mu <= figures.claimed_mu
    # And the canary is one: what it moves is not far from what any row may.
    assert figures.largest_mu > 0.5 * figures.claimed_mu
    # Metrics have a share of the budget that is not spent here.
    assert 2.5 < figures.epsilon < 3
    assert figures.holds
    assert "nothing contradicts the claim" in figures.to_text()


def test_control_without_noise_the_training_is_found_out() -> None:
    figures = audited(TrainingWay.CYCLIC, trials=20, draw_noise=no_noise)
    assert figures.wrong_in == figures.wrong_out == 0
    assert figures.epsilon_of_gaussian > figures.epsilon
    assert not figures.holds
    assert "THE CLAIM IS BROKEN" in figures.to_text()


def test_control_a_sum_without_noise_that_knows_the_row_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = whole_training.train_private

    def counting(
        params: Any, terms: Any, table: TrainingTable, *args: Any, **named: Any
    ) -> TrainResult:
        rows = np.array([table.n_rows], dtype=np.int64)
        args[0].sum(rows, bound=1000, low=0, label="rows")
        return train(params, terms, table, *args, **named)

    monkeypatch.setattr(whole_training, "train_private", counting)
    figures = audited(TrainingWay.CYCLIC, trials=1)
    assert figures.exact_leaks == ("rows",)
    assert not figures.holds


def test_control_a_row_of_more_weight_than_is_claimed_is_seen() -> None:
    """Three rows stand for one that nothing scales down."""
    figures = audited(TrainingWay.CYCLIC, trials=1, canary_rows=3)
    assert figures.largest_mu > figures.claimed_mu
    assert not figures.holds


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [1, 12])
def test_all_rows_of_a_customer_together_move_no_more_than_is_claimed(
    way: TrainingWay, rows: int
) -> None:
    figures = audited(
        way, trials=2, canary_rows=rows, unit=PrivacyUnit.CUSTOMER, gradient_cap=2.0, row_cap=12
    )
    assert figures.exact_leaks == ()
    assert figures.largest_mu <= figures.claimed_mu
    # Twelve frauds reach the cap in every tree, one reaches half of it.
    assert figures.largest_mu > (0.2 if rows == 1 else 0.5) * figures.claimed_mu


def test_the_command_prints_a_document() -> None:
    arguments = ["--rows", "60", "--features", "2", "--trees", "1", "--trials", "10", "--json"]
    result = CliRunner().invoke(audit_training_command, arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["exact_leaks"] == []
    assert document["way"] == "cyclic"
