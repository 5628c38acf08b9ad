"""What one row, and one customer, moves: never more than the plan charges, tried exhaustively."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.boosting.objective import gradients
from fraudfed.boosting.shard.capped import SHIFT, PrivateGradients
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import (
    HESSIAN_RATIO,
    PRIVATE_BITS,
    PlannedRelease,
    PrivacyPlan,
    paired_variance,
    plan_of,
    row_norm_of,
    variance_of,
)
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit, TrainingWay

ONE = 1 << PRIVATE_BITS
seeds = st.integers(0, 2**32 - 1)


def plan(
    unit: PrivacyUnit = PrivacyUnit.ROW,
    way: TrainingWay = TrainingWay.CYCLIC,
    *,
    max_weight: float = 1.0,
    scale_pos_weight: float = 1.0,
    cap: float = 4.0,
) -> PrivacyPlan:
    terms = PrivacyTerms(
        epsilon=3, unit=unit, way=way, tolerated_colluders=1, declared_rows=10**6, gradient_cap=cap
    )
    params = BoosterParams(num_boost_round=50, max_depth=3, scale_pos_weight=scale_pos_weight)
    return plan_of(terms, params, n_features=5, n_numeric=5, max_weight=max_weight)


def largest_square(pairs: Int64Array, ratio: Fraction = HESSIAN_RATIO) -> int:
    """Return the largest squared joint norm of rows, times the numerator of s squared."""
    n, d = ratio.numerator, ratio.denominator
    assert int(np.abs(pairs).max()) < 1 << 26, "squares stay in int64"
    return int(((n * pairs[:, 0]) ** 2 + (d * pairs[:, 1]) ** 2).max())


def rounded_pairs() -> Int64Array:
    """Return every rounded gradient of weight 1 with the least and largest hessian beside it."""
    found = []
    for g in range(ONE + 1):
        # Twice the ends of what rounds to g, so that halves are whole; a (1 - a) rises to 1/2.
        ends = [max(2 * g - 1, 0), min(2 * g + 1, 2 * ONE)]
        if ends[0] <= ONE <= ends[1]:
            ends.append(ONE)
        # In quarters of 2^-16 / 2^17; one unit more for the roundings of float32.
        exact = [Fraction(a * (2 * ONE - a), 4 * ONE) for a in ends]
        least, largest = math.floor(min(exact)), math.ceil(max(exact)) + 1
        found += [(g, h) for h in {max(least - 1, 0), least, largest}]
    return np.array(found, dtype=np.int64)


def test_s_is_above_the_largest_ratio_that_the_proof_needs() -> None:
    golden = (math.sqrt(5) - 1) / 2
    needed = golden**2 * (1 - golden) / (1 + golden)
    a = np.linspace(0, 1, 1_000_001)[1:]
    assert (a**2 * (1 - a) / (1 + a)).max() == pytest.approx(needed, abs=1e-12)
    assert float(HESSIAN_RATIO) ** 2 > needed
    assert Fraction(5, 16) == HESSIAN_RATIO


def test_no_rounded_gradient_exceeds_the_norm_of_its_row() -> None:
    pairs = rounded_pairs()
    assert len(np.unique(pairs[:, 0])) == 65_537
    kept = pairs[:, 1].copy()
    wide = pairs << SHIFT
    signs = np.array([[1, 1], [-1, 1]], dtype=np.int64)
    for sign in signs:
        bounded = wide * sign
        PrivateGradients(plan(), None).bound(bounded)
        assert largest_square(bounded) <= 25 * ONE * ONE
        # Only beside a = 1, where a hessian is next to nothing, does one become 0.
        dropped = kept != bounded[:, 1]
        assert int(pairs[dropped, 0].min()) >= ONE - 2
        assert int(kept[dropped].max()) <= 3


def test_control_with_hessians_at_0_30_rows_exceed_the_norm() -> None:
    pairs = rounded_pairs()
    assert largest_square(pairs, Fraction(3, 10)) > 9 * ONE * ONE
    interior = pairs[(pairs[:, 0] > ONE // 2) & (pairs[:, 0] < ONE * 3 // 4)]
    assert largest_square(interior, Fraction(3, 10)) > 9 * ONE * ONE
    assert largest_square(interior) < 25 * ONE * ONE


@given(
    max_weight=st.sampled_from([1.0, 0.001, 3.7]),
    scale_pos_weight=st.sampled_from([1.0, 0.3, 7.5]),
    seed=seeds,
)
def test_gradients_of_float32_probabilities_keep_the_bound(
    max_weight: float, scale_pos_weight: float, seed: int
) -> None:
    """As the trainer computes them: sigmoid, weight, 32 bits, then 16."""
    rng = np.random.default_rng(seed)
    spread = rng.choice([0.5, 5.0, 40.0])
    margins = np.concatenate(
        [rng.normal(0, spread, 3000), np.linspace(-110, 110, 3001), [0.0, -0.0, 1e30, -1e30]]
    ).astype(np.float32)
    labels = rng.integers(0, 2, margins.size).astype(np.float32)
    weights = (rng.random(margins.size) * max_weight).astype(np.float32)
    weights = np.minimum(weights, np.float32(max_weight))
    weights[::2] = np.float32(max_weight)
    pairs = gradients(margins, labels, weights, scale_pos_weight=scale_pos_weight)
    chosen = plan(max_weight=max_weight, scale_pos_weight=scale_pos_weight)
    PrivateGradients(chosen, None).bound(pairs)
    assert largest_square(pairs) <= 25 * chosen.row_norm**2
    assert pairs[:, 1].min() >= 0


def test_the_largest_weight_is_that_of_positives_or_of_negatives() -> None:
    for scale, wanted in ((1.0, 3.0), (0.25, 3.0), (4.0, 12.0)):
        found = row_norm_of(BoosterParams(scale_pos_weight=scale), max_weight=3.0)
        assert found == wanted * ONE
    # Rounded up.
    assert row_norm_of(BoosterParams(), max_weight=1e-9) == 1


# What is released moves by no more than is charged


def sums(pairs: Int64Array, cells: Int64Array, n_cells: int) -> Int64Array:
    """Return sums of shape (2, features, cells)."""
    found = np.zeros((2, cells.shape[1], n_cells), dtype=np.int64)
    for feature in range(cells.shape[1]):
        for kind in range(2):
            np.add.at(found[kind, feature], cells[:, feature], pairs[:, kind])
    return found


def moved(change: Int64Array, release: PlannedRelease) -> Fraction:
    """Return the sum of (change / sigma)^2 without rounding."""
    variances = paired_variance(variance_of(release.release)).ravel().tolist()
    return sum(
        (
            Fraction(int(sum(x * x for x in kind.ravel().tolist())), variance)
            for kind, variance in zip(change, variances, strict=True)
        ),
        Fraction(0),
    )


@given(
    way=st.sampled_from([TrainingWay.CYCLIC, TrainingWay.HISTOGRAMS]),
    unit=st.sampled_from(PrivacyUnit),
    seed=seeds,
    cap=st.sampled_from([0.5, 1.0, 4.0, 37.3]),
)
def test_taking_one_unit_away_moves_a_release_by_no_more_than_is_charged(
    way: TrainingWay, unit: PrivacyUnit, seed: int, cap: float
) -> None:
    rng = np.random.default_rng(seed)
    chosen = plan(unit, way, max_weight=2.0, scale_pos_weight=3.0, cap=cap)
    assert chosen.bins is not None
    n_rows, n_cells = 400, int(rng.integers(2, 12))
    n_features = 1 if way is TrainingWay.CYCLIC else 4
    cells = rng.integers(0, n_cells, (n_rows, n_features))
    labels = rng.integers(0, 2, n_rows).astype(np.float32)
    weights = rng.choice(np.array([0.1, 1.0, 2.0], dtype=np.float32), n_rows)
    margins = rng.normal(0, 4, n_rows).astype(np.float32)
    customers = rng.integers(0, 5, n_rows).astype(np.int64)
    pairs = gradients(margins, labels, weights, scale_pos_weight=3.0)
    if unit is PrivacyUnit.ROW:
        gone, codes, without = np.zeros(n_rows, np.bool_), None, None
        gone[rng.integers(n_rows)] = True
    else:
        gone, codes = customers == customers[rng.integers(n_rows)], customers
        without = customers[~gone]
        # All of the customer's rows in one cell: the worst case.
        if rng.random() < 0.5:
            cells[gone] = 0
    whole, rest = pairs.copy(), pairs[~gone].copy()
    PrivateGradients(chosen, codes).bound(whole)
    PrivateGradients(chosen, without).bound(rest)
    # Nobody else's rows weigh anything else because of the unit.
    assert np.array_equal(whole[~gone], rest)
    change = sums(whole, cells, n_cells) - sums(rest, cells[~gone], n_cells)
    assert moved(change, chosen.bins) <= chosen.bins.release.moved


@given(seed=seeds)
def test_control_without_the_cap_a_customer_moves_more_than_is_charged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chosen = plan(PrivacyUnit.CUSTOMER)
    assert chosen.bins is not None
    labels = np.ones(100, dtype=np.float32)
    margins = rng.normal(-3, 0.1, 100).astype(np.float32)
    pairs = gradients(margins, labels, None, scale_pos_weight=1.0)
    capped = pairs.copy()
    PrivateGradients(chosen, np.zeros(100, dtype=np.int64)).bound(capped)
    PrivateGradients(chosen, None).bound(pairs)
    cells = np.zeros((100, 1), dtype=np.int64)
    assert moved(sums(pairs, cells, 1), chosen.bins) > chosen.bins.release.moved
    assert moved(sums(capped, cells, 1), chosen.bins) <= chosen.bins.release.moved


@given(seed=seeds)
def test_control_a_cap_on_gradients_alone_does_not_bound_hessians(seed: int) -> None:
    """Rows that the model is sure of: |g| is next to nothing, and h as large as |g|."""
    rng = np.random.default_rng(seed)
    g = rng.uniform(0.01, 0.02, 400)
    assert g.sum() <= 8.0
    joint = np.hypot(g, g * (1 - g) / float(HESSIAN_RATIO))
    assert joint.sum() > 8.0
