"""Exact intervals of shares hold the laws that define them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from fraudfed.lab.attack.binomial import share_of


@given(
    tries=st.integers(1, 500),
    part=st.floats(0, 1),
    confidence=st.sampled_from([0.9, 0.95, 0.999]),
)
def test_at_the_ends_what_was_seen_or_more_has_the_chance_of_a_tail(
    tries: int, part: float, confidence: float
) -> None:
    hits = round(part * tries)
    share = share_of(hits, tries, confidence=confidence)
    tail = (1 - confidence) / 2
    assert share.low <= share.estimate <= share.high
    if hits > 0:
        assert binom.sf(hits - 1, tries, share.low) == pytest.approx(tail, rel=1e-6)
    if hits < tries:
        assert binom.cdf(hits, tries, share.high) == pytest.approx(tail, rel=1e-6)


def test_without_tries_it_can_be_anything() -> None:
    assert (share_of(0, 0).low, share_of(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "tries"), [(-1, 2), (3, 2)])
def test_more_hits_than_tries_are_refused(hits: int, tries: int) -> None:
    with pytest.raises(ValueError, match="hits"):
        share_of(hits, tries)
