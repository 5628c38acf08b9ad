"""The audit of an opened sum: what it sees is below what is claimed, and not far below.

Keys are fixed here, so that no test can fail by chance.
"""

import hashlib
import json
import math
from collections.abc import Callable
from fractions import Fraction
from itertools import count
from statistics import NormalDist

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fraudfed.errors import BoundError, ParameterError
from fraudfed.lab.privacy.audit import AuditFigures, audit_command, run_audit
from fraudfed.lab.privacy.lower_bounds import (
    epsilon_of_errors,
    epsilon_of_gaussian,
    upper_bound,
)
from fraudfed.machine.native import load_native
from fraudfed.privacy.accounting import gaussian_epsilon

DELTA = 1e-6
#: All that are made here: a bound is wrong in none of them, with 99.9 % confidence.
AUDITS = [(3.0, 3, 2), (10.0, 3, 2), (3.0, 5, 1), (3.0, 10, 3), (10.0, 2, 1)]
compiled = pytest.mark.skipif(
    load_native("fraudfed.privacy.noise._sampler").module is None,
    reason="three million draws take minutes in Python",
)


def fixed_keys(name: str) -> Callable[[], bytes]:
    """Return what gives other keys each time, and the same ones in each run of the tests."""
    numbers = count()
    return lambda: hashlib.sha256(f"{name} {next(numbers)}".encode()).digest()


def audit(epsilon: float, banks: int, colluders: int, **changed: object) -> AuditFigures:
    arguments: dict[str, object] = {
        "epsilon": epsilon,
        "delta": DELTA,
        "banks": banks,
        "tolerated_colluders": colluders,
        # Ten banks draw enough as it is.
        "bins": 32 if banks < 10 else 4,
        "trials": 10_000,
        "tries": len(AUDITS),
        "new_key": fixed_keys(f"{epsilon} {banks} {colluders}"),
    }
    return run_audit(**{**arguments, **changed})  # type: ignore[arg-type]


@compiled
@pytest.mark.parametrize(("epsilon", "banks", "colluders"), AUDITS)
def test_what_is_seen_is_below_the_claim_and_within_a_factor_of_two(
    epsilon: float, banks: int, colluders: int
) -> None:
    figures = audit(epsilon, banks, colluders)
    # The sum claims what was asked for, and hardly less.
    assert epsilon * 0.999 < figures.epsilon <= epsilon
    assert figures.values == (64 if banks < 10 else 8)
    assert figures.holds
    assert figures.lower_bound <= figures.epsilon
    assert figures.lower_bound >= figures.epsilon / 2
    for threshold in figures.thresholds:
        # Errors that are expected of a normal distribution: the attack is the best there is.
        for wrong, expected in (
            (threshold.wrong_in, NormalDist().cdf(-threshold.at)),
            (threshold.wrong_out, NormalDist().cdf(threshold.at - figures.mu)),
        ):
            spread = math.sqrt(expected * (1 - expected) / figures.trials)
            assert abs(wrong / figures.trials - expected) < 5 * spread


@compiled
@pytest.mark.parametrize(("epsilon", "banks", "colluders"), [AUDITS[0], AUDITS[-1]])
def test_control_half_the_noise_is_found_out(epsilon: float, banks: int, colluders: int) -> None:
    figures = audit(epsilon, banks, colluders, insecure_noise_share=Fraction(1, 2))
    assert not figures.holds
    assert figures.lower_bound > figures.epsilon
    assert "A BOUND IS ABOVE THE CLAIM" in figures.to_text()


@compiled
def test_control_without_noise_no_assumption_is_needed() -> None:
    """Where next to nothing hides the canary, the bound that holds for any mechanism shows it."""
    figures = audit(1.0, 3, 2, insecure_noise_share=Fraction(1, 1000), tries=1)
    assert max(threshold.epsilon_of_any for threshold in figures.thresholds) > 6 > figures.epsilon


def test_more_tries_make_bounds_lower() -> None:
    few = {"trials": 500, "bins": 1}
    once = audit(3.0, 3, 2, **few, tries=1, new_key=fixed_keys("same"))
    among_many = audit(3.0, 3, 2, **few, tries=1000, new_key=fixed_keys("same"))
    assert once.thresholds[0].wrong_in == among_many.thresholds[0].wrong_in
    assert once.lower_bound > among_many.lower_bound


# --- the bounds -----------------------------------------------------------------------------------


@given(
    trials=st.integers(1, 3000),
    share=st.floats(0, 1),
    error=st.floats(1e-9, 0.4),
)
def test_the_upper_bound_is_that_of_clopper_and_pearson(
    trials: int, share: float, error: float
) -> None:
    successes = round(share * trials)
    found = upper_bound(successes, trials, error=error)
    expected = (
        1.0
        if successes == trials
        else float(stats.beta.isf(error, successes + 1, trials - successes))
    )
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-12)


@given(epsilon=st.floats(0.01, 8))
def test_randomised_response_has_its_own_epsilon(epsilon: float) -> None:
    """Its best test errs with 1 / (1 + e^epsilon) both ways: the bound is tight at delta 0."""
    wrong = 1 / (1 + math.exp(epsilon))
    assert epsilon_of_errors(wrong, wrong, delta=0.0) == pytest.approx(epsilon)
    assert epsilon_of_errors(wrong, wrong, delta=1e-3) < epsilon


@given(mu=st.floats(0.05, 4), at=st.floats(-1, 3))
def test_the_gaussian_bound_is_tight_at_every_threshold(mu: float, at: float) -> None:
    normal = NormalDist()
    found = epsilon_of_gaussian(normal.cdf(-at), normal.cdf(at - mu), delta=DELTA)
    assert found == pytest.approx(gaussian_epsilon(Fraction(mu) ** 2 / 2, DELTA), rel=1e-6)


@pytest.mark.parametrize("errors", [(0.5, 0.5), (0.9, 0.3), (1.0, 0.2), (0.4, 1.0)])
def test_a_test_that_says_nothing_shows_nothing(errors: tuple[float, float]) -> None:
    assert epsilon_of_errors(*errors, delta=DELTA) <= 1e-9
    assert epsilon_of_gaussian(*errors, delta=DELTA) == 0.0


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_a_document() -> None:
    result = CliRunner().invoke(audit_command, ["--trials", "200", "--bins", "2", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert isinstance(document["holds"], bool)
    assert document["values"] == 4
    assert len(document["thresholds"]) == 2


def test_a_cohort_of_colluders_is_refused() -> None:
    result = CliRunner().invoke(audit_command, ["--banks", "3", "--colluders", "3"])
    assert isinstance(result.exception, ParameterError)


def test_an_epsilon_that_leaves_too_little_noise_is_refused() -> None:
    with pytest.raises(BoundError, match="a bank's part of the noise"):
        audit(60.0, 400, 0, trials=100)
