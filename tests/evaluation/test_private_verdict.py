"""A verdict from one noised release: exact without noise, and honest with it."""

import inspect
from collections.abc import Callable
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from fraudfed.communicator import NoisySoloCommunicator
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError, ParameterError
from fraudfed.evaluation import auc, auprc
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.plan import JudgingPlan
from fraudfed.evaluation.private import own_counts as own_counts_module
from fraudfed.evaluation.private.cells import N_RANGES, RANGE_EDGES, ranges_of
from fraudfed.evaluation.private.estimates import UNIT, report
from fraudfed.evaluation.private.monotone import monotone_counts
from fraudfed.evaluation.private.own_counts import own_counts
from fraudfed.evaluation.private.release import NoisedJudging, judge_noised
from fraudfed.evaluation.score_histogram import RankedCounts, sigmoid
from fraudfed.privacy.bounding import at_most
from fraudfed.privacy.releases import NoisedRelease

PLAN = JudgingPlan()


def rows(
    seed: int, *, n_rows: int = 20_000, n_frauds: int = 400, n_customers: int | None = None
) -> tuple[Float32Array, Outcomes]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n_rows) < n_frauds).astype(np.float32)
    margins = rng.normal(-5, 1.2, n_rows) + labels * rng.normal(3, 1.5, n_rows)
    outcomes = Outcomes(
        labels=labels,
        is_blocked=np.zeros(n_rows, dtype=np.bool_),
        customers=None if n_customers is None else rng.integers(-1, n_customers, n_rows),
    )
    return margins.astype(np.float32), outcomes


def judged(
    margins: Float32Array,
    outcomes: Outcomes,
    draw_noise: Callable[[NoisedRelease, tuple[int, ...]], Int64Array],
    *,
    judging: NoisedJudging,
) -> object:
    return judge_noised(
        margins,
        outcomes,
        NoisySoloCommunicator(draw_noise),
        judging=judging,
        plan=PLAN,
        draw=np.random.default_rng(1),
    )


def silent(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    del release
    return np.zeros(shape, dtype=np.int64)


def normal(rng: np.random.Generator) -> Callable[[NoisedRelease, tuple[int, ...]], Int64Array]:
    def draw(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
        return np.rint(rng.normal(0, sqrt(int(release.variance)), shape)).astype(np.int64)

    return draw


@given(st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=50))
def test_a_range_holds_the_scores_between_its_edges(margins: list[float]) -> None:
    found = ranges_of(np.array(margins, dtype=np.float32))
    for margin, place in zip(margins, found.tolist(), strict=True):
        assert place == 0 or margin >= RANGE_EDGES[place]
        assert place == N_RANGES - 1 or margin < RANGE_EDGES[place + 1]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40))
def test_counts_of_rows_stay_as_they_are(counts: list[int]) -> None:
    exact = np.array(counts, dtype=np.int64)
    assert monotone_counts(exact * UNIT, unit=UNIT).tolist() == counts


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_no_ordered_totals_are_nearer(noised: list[int], seed: int) -> None:
    """Least squares, against many other sequences that never fall."""
    counts = monotone_counts(np.array(noised, dtype=np.int64) * 64, unit=1)
    assert (counts >= 0).all()
    aim = np.cumsum(np.array(noised[::-1]) * 64)
    found = np.cumsum(counts[::-1])
    rng = np.random.default_rng(seed)
    for _ in range(50):
        other = np.maximum(np.sort(found + rng.integers(-100, 100, found.size)), 0)
        # The found one is rounded to whole rows: each of its totals is off by at most 1/2.
        room = float(np.abs(found - aim).sum()) + found.size
        assert ((found - aim) ** 2).sum() <= ((other - aim) ** 2).sum() + room


def test_without_noise_the_report_is_that_of_the_counts() -> None:
    margins, outcomes = rows(0)
    counts = own_counts(margins, outcomes, draw=np.random.default_rng(0))
    ranked = RankedCounts(*counts)
    found = report(counts * UNIT, variance=0, plan=PLAN, row_cap=None)
    for noised, bounded in ((found.auprc, ranked.average_precision()), (found.auc, ranked.auc())):
        assert noised is not None
        assert bounded is not None
        assert (noised.estimate, noised.low, noised.high, noised.noise) == (
            *(bounded.estimate, bounded.low, bounded.high),
            0.0,
        )
    assert (found.rows, found.frauds) == (20_000, 400)
    labels = outcomes.labels
    probabilities = sigmoid(margins.astype(np.float64))
    expected = (
        (found.auprc, auprc(margins, labels)),
        (found.auc, auc(margins, labels)),
        (found.brier, float(brier_score_loss(labels, probabilities))),
        (found.log_loss, float(log_loss(labels, probabilities))),
    )
    for noised, truth in expected:
        assert noised is not None
        assert truth is not None
        assert noised.low <= truth <= noised.high
    alerted = np.argsort(-margins, kind="stable")[: found.at_budget.alerts]
    recall, precision = labels[alerted].sum() / 400, labels[alerted].mean()
    assert found.at_budget.recall is not None
    assert found.at_budget.recall.low <= recall <= found.at_budget.recall.high
    assert found.at_budget.precision is not None
    assert found.at_budget.precision.low <= precision <= found.at_budget.precision.high


def test_tiny_noise_is_next_to_none() -> None:
    margins, outcomes = rows(3)
    judging = NoisedJudging.of(rho=Fraction(10**6), row_cap=None)
    exact = judged(margins, outcomes, silent, judging=judging)
    noised = judged(margins, outcomes, normal(np.random.default_rng(4)), judging=judging)
    for name in ("auprc", "auc", "brier", "log_loss"):
        assert getattr(noised, name).estimate == getattr(exact, name).estimate


def test_the_ends_hold_the_metrics_of_the_rows() -> None:
    margins, outcomes = rows(5, n_rows=10_000, n_frauds=500)
    counts = own_counts(margins, outcomes, draw=np.random.default_rng(0))
    probabilities = sigmoid(margins.astype(np.float64))
    truth = {
        "auprc": auprc(margins, outcomes.labels),
        "auc": auc(margins, outcomes.labels),
        "brier": float(brier_score_loss(outcomes.labels, probabilities)),
        "log_loss": float(log_loss(outcomes.labels, probabilities)),
    }
    rng, sigma, n_trials = np.random.default_rng(6), 9 * UNIT, 20
    inside = dict.fromkeys(truth, 0)
    for _ in range(n_trials):
        noise = np.rint(rng.normal(0, sigma, counts.shape)).astype(np.int64)
        found = report(counts * UNIT + noise, variance=sigma**2, plan=PLAN, row_cap=None)
        for name, value in truth.items():
            told = getattr(found, name)
            inside[name] += bool(told.low <= value <= told.high)
    # Fewer than 16 of 20 happen once in 400 at 0.95, and the draws here are fixed.
    assert all(count >= 16 for count in inside.values()), inside


def test_too_few_frauds_for_the_noise_say_nothing() -> None:
    margins, outcomes = rows(7, n_frauds=40)
    counts = own_counts(margins, outcomes, draw=np.random.default_rng(0)) * UNIT
    found = report(counts, variance=(9 * UNIT) ** 2, plan=PLAN, row_cap=None)
    assert (found.auprc, found.auc, found.brier, found.log_loss) == (None,) * 4
    assert (found.at_budget.recall, found.at_budget.precision) == (None, None)
    assert found.count_noise == 9.0
    assert found.rows_noise == pytest.approx(9 * sqrt(N_RANGES))


@given(seed=st.integers(0, 10**6), removed=st.integers(0, 299))
@settings(max_examples=25, deadline=None)
def test_one_row_moves_one_count_by_one(seed: int, removed: int) -> None:
    margins, outcomes = rows(seed, n_rows=300, n_frauds=20)
    kept = np.arange(300) != removed
    before = own_counts(margins, outcomes, draw=np.random.default_rng(seed))
    after = own_counts(margins[kept], outcomes.take(kept), draw=np.random.default_rng(seed + 1))
    moved = before - after
    assert (np.count_nonzero(moved), int(moved.sum())) == (1, 1)


@given(seed=st.integers(0, 10**6), cap=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_a_customer_moves_counts_by_at_most_the_cap(seed: int, cap: int) -> None:
    """For each draw: of the others the same rows are kept, as the draw of each is its own."""
    margins, outcomes = rows(seed, n_rows=300, n_frauds=60, n_customers=20)
    assert outcomes.customers is not None
    kept = at_most(outcomes.customers, cap, draw=np.random.default_rng(seed))
    codes, counts = np.unique(outcomes.customers[kept], return_counts=True)
    all_codes, all_counts = np.unique(outcomes.customers, return_counts=True)
    assert codes.tolist() == all_codes.tolist()
    assert counts.tolist() == np.minimum(all_counts, cap).tolist()
    of_one = outcomes.customers[kept] == codes[-1]
    with_all = own_counts_module.count_cells(
        ranges_of(margins[kept]), np.zeros(kept.size, np.int64), n_cells=N_RANGES, n_classes=1
    )
    without = own_counts_module.count_cells(
        ranges_of(margins[kept[~of_one]]),
        np.zeros(int((~of_one).sum()), np.int64),
        n_cells=N_RANGES,
        n_classes=1,
    )
    assert int(((with_all - without) ** 2).sum()) <= cap**2


def test_which_rows_of_a_customer_count_is_drawn() -> None:
    customers = np.zeros(1000, dtype=np.int64)
    draws = [at_most(customers, 10, draw=np.random.default_rng(seed)).tolist() for seed in range(3)]
    assert draws[0] != draws[1] != draws[2]
    assert at_most(customers[:0], 10, draw=np.random.default_rng(0)).size == 0


def test_control_without_the_cap_a_customer_moves_more_than_the_noise_is_made_for() -> None:
    margins, outcomes = rows(1, n_rows=300, n_frauds=60, n_customers=3)
    capped = own_counts(margins, outcomes, row_cap=4, draw=np.random.default_rng(0))
    free = own_counts(margins, outcomes, row_cap=None, draw=np.random.default_rng(0))
    assert capped.sum() == 16
    assert free.sum() == 300


@given(st.fractions(min_value=Fraction(1, 10**5), max_value=1), st.integers(1, 100))
@settings(deadline=None)
def test_the_release_costs_what_it_may(rho: Fraction, cap: int) -> None:
    judging = NoisedJudging.of(rho=rho, row_cap=cap)
    assert judging.release.moved == Fraction((cap * UNIT) ** 2, judging.variance)
    assert judging.release.moved / 2 <= rho
    # No more noise than that needs.
    assert Fraction((cap * UNIT) ** 2, judging.variance - 1) / 2 > rho - Fraction(1, 2**60)


def test_terms_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ParameterError, match="leaves 62 bits"):
        NoisedJudging.of(rho=Fraction(1, 2**90), row_cap=None)
    margins, outcomes = rows(0, n_rows=10, n_frauds=5)
    with pytest.raises(DataError, match="name no customers"):
        own_counts(margins, outcomes, row_cap=3, draw=np.random.default_rng(0))
    with pytest.raises(DataError, match="expected one for each of 10 rows"):
        own_counts(margins[:-1], outcomes, draw=np.random.default_rng(0))


def test_censored_rows_are_not_counted() -> None:
    margins, outcomes = rows(0, n_rows=100, n_frauds=5)
    labels = outcomes.labels.copy()
    labels[10:30] = np.nan
    censored = Outcomes(labels=labels, is_blocked=np.isnan(labels))
    assert own_counts(margins, censored, draw=np.random.default_rng(0)).sum() == 80


def test_the_report_is_a_formula_over_what_is_opened() -> None:
    """No draw, no clock: the same bytes at every bank."""
    taken = set(inspect.signature(report).parameters)
    assert taken == {"noised", "variance", "plan", "row_cap"}
    margins, outcomes = rows(2)
    counts = own_counts(margins, outcomes, draw=np.random.default_rng(0)) * UNIT
    noised = counts + np.random.default_rng(1).integers(-(10**6), 10**6, counts.shape)
    first, second = (report(noised, variance=10**12, plan=PLAN, row_cap=None) for _ in range(2))
    assert first == second
