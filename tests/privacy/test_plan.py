"""A plan never spends more than its terms allow, as the ledger counts."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.accounting import epsilon_of, on_grid, rho_of, usable_delta
from fraudfed.privacy.plan import (
    HESSIAN_RATIO,
    PrivacyPlan,
    paired_variance,
    plan_of,
    row_norm_of,
    variance_of,
)
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit, PrivateCuts, TrainingWay

TERMS = st.builds(
    PrivacyTerms,
    epsilon=st.floats(0.1, 20.0),
    delta=st.sampled_from([1e-4, 1e-6, 1e-9]),
    unit=st.sampled_from(list(PrivacyUnit)),
    way=st.sampled_from(list(TrainingWay)),
    cuts=st.sampled_from(list(PrivateCuts)),
    tolerated_colluders=st.just(1),
    declared_rows=st.just(1 << 20),
    gradient_cap=st.floats(0.1, 100.0),
    row_cap=st.integers(1, 100),
    features_per_tree=st.integers(1, 50),
    cuts_share=st.floats(0.001, 0.3),
    counts_share=st.floats(0.001, 0.3),
    metric_share=st.floats(0.0, 0.3),
)


def ledger_total(plan: PrivacyPlan) -> Fraction:
    """Return what the ledger charges: each release rounded up, and a step for its distance."""
    step = on_grid(Fraction(1, 1 << 100))
    each = [planned.times * (on_grid(planned.release.moved / 2) + step) for planned in plan]
    return sum(each, Fraction(0))


@settings(max_examples=60, deadline=None)
@given(
    terms=TERMS,
    trees=st.integers(1, 500),
    depth=st.integers(1, 8),
    numeric=st.integers(1, 80),
    categorical=st.integers(0, 5),
    max_weight=st.sampled_from([0.37, 1.0, 12.0]),
    scale=st.sampled_from([0.5, 1.0, 30.0]),
)
def test_all_releases_cost_at_most_what_the_terms_allow(
    terms: PrivacyTerms,
    trees: int,
    depth: int,
    numeric: int,
    categorical: int,
    max_weight: float,
    scale: float,
) -> None:
    params = BoosterParams(num_boost_round=trees, max_depth=depth, scale_pos_weight=scale)
    try:
        plan = plan_of(
            terms,
            params,
            n_features=numeric + categorical,
            n_numeric=numeric,
            max_weight=max_weight,
        )
    except ParameterError as error:
        # A small budget for large weights asks for more noise than a sum can hold; refused.
        assert "62 bits" in str(error)  # noqa: PT017
        return
    allowed = rho_of(terms.epsilon, usable_delta(terms.epsilon, terms.delta))
    spent = ledger_total(plan) + plan.metric_rho
    assert spent <= allowed
    assert epsilon_of(spent, usable_delta(terms.epsilon, terms.delta)) <= terms.epsilon
    # And next to nothing is wasted.
    assert spent >= allowed * Fraction(999, 1000)


def terms_of(**given: Any) -> PrivacyTerms:
    base: dict[str, Any] = {"epsilon": 3.0, "tolerated_colluders": 1, "declared_rows": 1000}
    return PrivacyTerms(**{**base, **given})


def plan_with(params: BoosterParams | None = None, **given: Any) -> PrivacyPlan:
    return plan_of(terms_of(**given), params or BoosterParams(), n_features=10, n_numeric=8)


def test_what_is_declared_costs_nothing() -> None:
    plan = plan_with(BoosterParams(base_score=0.01), cuts=PrivateCuts.CONTRACT, metric_share=0.0)
    assert plan.cuts is None
    assert plan.counts is None
    assert plan.metric_rho == 0
    assert [planned.what for planned in plan] == ["bins"]


def test_bins_of_a_feature_cost_the_same_however_many_they_are() -> None:
    few, many = (plan_with(BoosterParams(max_bin=size)).bins for size in (4, 64))
    assert few is not None
    assert many is not None
    assert few.release.variance == many.release.variance


def test_a_cap_of_c_needs_c_times_the_noise() -> None:
    one, four = (plan_with(unit=PrivacyUnit.CUSTOMER, gradient_cap=cap).bins for cap in (1.0, 4.0))
    assert one is not None
    assert four is not None
    ratio = variance_of(four.release) / variance_of(one.release)
    assert ratio == pytest.approx(16.0)


@pytest.mark.parametrize("variance", [1, 255, 1 << 16, 10**15 + 7])
def test_a_hessian_carries_at_least_its_share_of_the_noise(variance: int) -> None:
    gradient, hessian = paired_variance(variance)[:, 0].tolist()
    assert gradient == variance
    assert hessian >= HESSIAN_RATIO**2 * variance
    assert hessian - HESSIAN_RATIO**2 * variance < 1


@given(weight=st.floats(2.0**-10, 65536.0), scale=st.floats(2.0**-10, 100.0))
def test_the_norm_of_a_row_is_no_less_than_its_weight(weight: float, scale: float) -> None:
    params = BoosterParams(scale_pos_weight=scale)
    rows = np.float32(weight) * np.array([1.0, np.float32(scale)], dtype=np.float32)
    norm = row_norm_of(params, max_weight=weight)
    assert norm - 1 < float(rows.max()) * 2.0**16 <= norm


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ParameterError, match="leave nothing for the trees"):
        plan_with(cuts_share=0.5, counts_share=0.3, metric_share=0.2)
    with pytest.raises(ParameterError, match="metric_share"):
        plan_with(metric_share=-0.1)


def test_noise_beyond_62_bits_is_refused() -> None:
    with pytest.raises(ParameterError, match="62 bits"):
        plan_of(
            terms_of(epsilon=0.01),
            BoosterParams(num_boost_round=10_000),
            n_features=1,
            n_numeric=1,
            max_weight=65536.0,
        )
