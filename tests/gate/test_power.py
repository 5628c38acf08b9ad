"""Exact chances against worlds that are drawn."""

import numpy as np
import pytest

from fraudfed.gate.decision import Verdict, verdict_of
from fraudfed.gate.intervals import paired_difference
from fraudfed.gate.power import chances


@pytest.mark.parametrize(
    ("n_cases", "difference", "share"), [(120, 0.03, 0.1), (300, -0.04, 0.08), (60, 0.2, 0.2)]
)
def test_chances_are_those_of_drawn_worlds(n_cases: int, difference: float, share: float) -> None:
    rng = np.random.default_rng(n_cases)
    shares = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    draws = rng.multinomial(n_cases, np.maximum(shares, 0), size=1000)
    seen = dict.fromkeys(Verdict, 0)
    worlds, times = np.unique(draws, axis=0, return_counts=True)
    for (first, second, _), number in zip(worlds.tolist(), times.tolist(), strict=True):
        found = paired_difference(first, second, n_cases, confidence=0.95)
        seen[verdict_of(found, n_cases=n_cases, margin=0.02)] += number
    want = chances(n_cases=n_cases, difference=difference, discordant_share=share)
    assert seen[Verdict.ADOPT] / 1000 == pytest.approx(want.adopt, abs=0.05)
    assert seen[Verdict.KEEP] / 1000 == pytest.approx(want.keep, abs=0.05)


def test_few_cases_decide_nothing() -> None:
    found = chances(n_cases=49, difference=0.3, discordant_share=0.3)
    assert (found.adopt, found.keep, found.undecided) == (0, 0, 1)


def test_models_that_are_alike_are_adopted() -> None:
    found = chances(n_cases=200, difference=0.0, discordant_share=0.0)
    assert found.adopt == pytest.approx(1)
    assert found.keep == 0


def test_a_difference_without_discordant_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="made of discordant cases"):
        chances(n_cases=100, difference=0.1, discordant_share=0.05)
