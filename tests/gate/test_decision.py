"""The gate's rule, and how often it errs where the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging.made_windows import found_cases

from fraudfed.gate.decision import Decision, Verdict, cases_needed, gate_of, verdict_of
from fraudfed.gate.intervals import Interval
from fraudfed.gate.power import chances


def decided(n_cases: int, *, only_shared: int, only_own: int) -> Decision:
    outcomes, shared, own = found_cases(n_cases, only_shared=only_shared, only_own=only_own)
    found = gate_of(
        *(shared, own, outcomes),
        generator=np.random.default_rng(7),
        alerts_per_day=n_cases / 10,
        n_resamples=1000,
    )
    assert (found.only_shared, found.only_own, found.n_cases) == (only_shared, only_own, n_cases)
    return found


@pytest.mark.parametrize(
    ("n_cases", "only_shared", "only_own", "verdict"),
    [
        (400, 40, 10, Verdict.ADOPT),
        (400, 10, 40, Verdict.KEEP),
        (400, 20, 22, Verdict.UNDECIDED),
        (400, 2, 2, Verdict.ADOPT),
        (49, 20, 0, Verdict.UNDECIDED),
        (49, 0, 20, Verdict.UNDECIDED),
        (60, 20, 0, Verdict.ADOPT),
    ],
)
def test_verdicts(n_cases: int, only_shared: int, only_own: int, verdict: Verdict) -> None:
    assert decided(n_cases, only_shared=only_shared, only_own=only_own).verdict is verdict


def test_what_no_case_tells_apart_is_undecided_where_a_bootstrap_alone_is_sure() -> None:
    """60 cases without a difference: every resample has none, and the score interval may."""
    found = decided(60, only_shared=0, only_own=0)
    assert found.difference.estimate == 0
    assert found.difference.lower < -found.margin
    assert found.verdict is Verdict.UNDECIDED
    assert decided(200, only_shared=0, only_own=0).verdict is Verdict.ADOPT


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 200), st.floats(0, 0.5))
def test_no_verdict_contradicts_its_bounds(
    estimate: float, below: float, above: float, n_cases: int, margin: float
) -> None:
    interval = Interval(estimate, estimate - below, estimate + above)
    verdict = verdict_of(interval, n_cases=n_cases, margin=margin)
    if verdict is Verdict.ADOPT:
        assert n_cases >= 50
        assert estimate >= 0
        assert interval.lower > -margin
    if verdict is Verdict.KEEP:
        assert n_cases >= 50
        assert interval.upper < 0


@settings(deadline=None, max_examples=8)
@given(st.integers(50, 300), st.data())
def test_models_that_change_places_change_the_bounds(n: int, data: st.DataObject) -> None:
    more = data.draw(st.integers(0, n // 2))
    less = data.draw(st.integers(0, n // 2))
    one = decided(n, only_shared=more, only_own=less)
    other = decided(n, only_shared=less, only_own=more)
    assert one.difference.estimate == -other.difference.estimate
    assert one.difference.lower == pytest.approx(-other.difference.upper, abs=0.02)


def test_cases_needed() -> None:
    assert cases_needed(0.1, 0.05) == 248  # 6.18 * 0.1 / 0.0025
    assert cases_needed(0.1, -0.05) == 248
    assert cases_needed(0.1, 0.0) is None
    assert cases_needed(0.01, 0.5) == 50


def test_so_many_cases_decide_four_times_in_five() -> None:
    n_cases = cases_needed(0.15, 0.05)
    assert n_cases is not None
    found = chances(n_cases=n_cases, difference=-0.05, discordant_share=0.15)
    assert found.keep == pytest.approx(0.8, abs=0.02)


N_CASES = (50, 75, 100, 133, 150, 200, 500, 1000)


@pytest.mark.parametrize("share", [0.02, 0.03, 0.05, 0.1, 0.2, 0.4])
def test_a_model_that_is_worse_by_the_margin_is_rarely_adopted(share: float) -> None:
    """At most 5 %, but for the steps of a count: half a point."""
    adopted = [chances(n_cases=n, difference=-0.02, discordant_share=share).adopt for n in N_CASES]
    assert max(adopted) < 0.058
    assert np.mean(adopted) < 0.052


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_model_that_is_no_worse_is_rarely_turned_down(share: float) -> None:
    kept = [chances(n_cases=n, difference=0.0, discordant_share=share).keep for n in N_CASES]
    assert max(kept) < 0.058
    assert np.mean(kept) < 0.052


@pytest.mark.parametrize(("difference", "share"), [(0.05, 0.15), (0.1, 0.3), (-0.05, 0.1)])
def test_from_500_cases_on_real_differences_are_decided(difference: float, share: float) -> None:
    found = chances(n_cases=500, difference=difference, discordant_share=share)
    assert found.undecided < 0.2
    assert found.adopt + found.keep + found.undecided == pytest.approx(1)
