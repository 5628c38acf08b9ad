"""The noise of a release, the parts of banks, and how far all parts together reach."""

import math
import secrets
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.communicator import NoisySoloCommunicator
from fraudfed.errors import BoundError
from fraudfed.machine.native import load_native
from fraudfed.privacy.distance import LEAST_PART_VARIANCE, part_of
from fraudfed.privacy.noise import drawing
from fraudfed.privacy.noise.drawing import draw, part_variance, tail
from fraudfed.privacy.noise.reference import MAXIMUM_VARIANCE
from fraudfed.privacy.noise.sampler import sample
from fraudfed.privacy.releases import NoisedRelease

DRAWS = 200_000 if load_native("fraudfed.privacy.noise._sampler").module is not None else 10_000
banks_and_colluders = st.integers(2, 50).flatmap(
    lambda banks: st.tuples(st.just(banks), st.integers(0, banks - 1))
)


# --- a bank's part ------------------------------------------------------------------------------


@given(
    cohort=banks_and_colluders,
    variances=st.lists(st.integers(50 * LEAST_PART_VARIANCE, MAXIMUM_VARIANCE), min_size=1),
)
def test_what_colluders_leave_has_the_variance(
    cohort: tuple[int, int], variances: list[int]
) -> None:
    n_banks, colluders = cohort
    parts = part_variance(
        np.array(variances), n_banks=n_banks, tolerated_colluders=colluders
    ).tolist()
    honest = n_banks - colluders
    for part, variance in zip(parts, variances, strict=True):
        assert part == part_of(variance, honest=honest)
        assert honest * part >= variance
        assert honest * (part - 1) < variance


@pytest.mark.parametrize("n_banks", [3, 5, 10])
def test_noise_without_the_colluders_parts_has_the_variance(n_banks: int) -> None:
    """Drawn: the sample variance is never below sigma^2 by more than five standard errors."""
    colluders = max(1, n_banks // 3)
    variance = 10 * LEAST_PART_VARIANCE + 7
    part = part_variance(variance, n_banks=n_banks, tolerated_colluders=colluders)
    # Fixed keys: what passes once passes always.
    parts = np.array(
        [
            sample(np.full(DRAWS, part), bytes([n_banks, bank]) + bytes(30))
            for bank in range(n_banks)
        ]
    )
    honest = n_banks - colluders
    error = 5 * math.sqrt(2 / DRAWS)
    for first in range(colluders + 1):
        left = parts[first : first + honest].sum(axis=0, dtype=np.float64)
        assert float((left**2).mean()) >= variance * (1 - error)
        assert float((left**2).mean()) <= variance * (1 + error) + honest


def test_control_parts_that_count_all_banks_leave_too_little() -> None:
    """Divided by all banks, as if nobody colluded, what is left falls short of sigma^2."""
    n_banks, colluders, variance = 5, 1, 10 * LEAST_PART_VARIANCE
    part = part_variance(variance, n_banks=n_banks, tolerated_colluders=0)
    left = sum(
        sample(np.full(DRAWS, part), bytes([99, bank]) + bytes(30))
        for bank in range(n_banks - colluders)
    )
    assert float((np.asarray(left, dtype=np.float64) ** 2).mean()) < 0.9 * variance


def test_a_part_that_is_too_narrow_is_refused() -> None:
    least = 4 * LEAST_PART_VARIANCE
    assert part_variance(least, n_banks=5, tolerated_colluders=1) == LEAST_PART_VARIANCE
    # The ceiling is what counts.
    assert part_variance(least - 3, n_banks=5, tolerated_colluders=1) == LEAST_PART_VARIANCE
    with pytest.raises(BoundError, match="has the variance 65535, expected at least 65536"):
        part_variance(np.array([least, least - 4]), n_banks=5, tolerated_colluders=1)


@pytest.mark.parametrize(("n_banks", "colluders"), [(3, 3), (3, 4), (0, 0), (3, -1)])
def test_a_cohort_without_an_honest_bank_is_refused(n_banks: int, colluders: int) -> None:
    with pytest.raises(BoundError, match="at least one that does not"):
        part_variance(1 << 40, n_banks=n_banks, tolerated_colluders=colluders)


@pytest.mark.parametrize("variance", [0, -5, MAXIMUM_VARIANCE + 1])
def test_a_variance_out_of_its_range_is_refused(variance: int) -> None:
    with pytest.raises(BoundError, match="expected 1"):
        part_variance(variance, n_banks=3, tolerated_colluders=1)


# --- how far noise reaches ------------------------------------------------------------------------


@given(
    cohort=banks_and_colluders,
    variance=st.integers(50 * LEAST_PART_VARIANCE, 1 << 50),
    n_values=st.integers(1, 1 << 40),
    bits=st.integers(1, 80),
)
def test_the_tail_bounds_the_probability(
    cohort: tuple[int, int], variance: int, n_values: int, bits: int
) -> None:
    """The sub-Gaussian bound at the tail, in logarithms, and hardly more than is needed."""
    n_banks, colluders = cohort
    part = int(part_variance(variance, n_banks=n_banks, tolerated_colluders=colluders))
    reach = int(
        tail(
            variance,
            n_banks=n_banks,
            tolerated_colluders=colluders,
            n_values=n_values,
            bits=bits,
        )
    )
    exponent = Fraction(reach * reach, 2 * n_banks * part)
    needed = (bits + 1 + math.log2(n_values)) * math.log(2)
    assert exponent >= Fraction(needed) * (1 - Fraction(1, 10**12))
    assert float(exponent) <= needed + math.log(2) + 0.1


@pytest.mark.parametrize("n_banks", [2, 3, 10])
def test_no_draw_lies_beyond_the_tail(n_banks: int) -> None:
    """Drawn anew each time: it would fail once in 2^60 times."""
    variance = 100 * LEAST_PART_VARIANCE
    cohort = {"n_banks": n_banks, "tolerated_colluders": 1}
    part = part_variance(variance, **cohort)
    noise = sum(sample(np.full(10_000, part), secrets.token_bytes(32)) for _ in range(n_banks))
    assert np.abs(noise).max() <= tail(variance, **cohort, n_values=10_000)
    # And it is not so far out that nothing ever came near it.
    assert np.abs(noise).max() > tail(variance, **cohort, n_values=10_000) // 4


def test_tails_have_the_shape_of_the_variances() -> None:
    variances = np.array([[1 << 40, 1 << 30], [1 << 30, 1 << 20]])
    cohort = {"n_banks": 3, "tolerated_colluders": 1, "n_values": 1000}
    tails = tail(variances, **cohort)
    assert tails.shape == variances.shape
    assert tails.dtype == np.int64
    assert tails[0, 1] == tails[1, 0] == tail(1 << 30, **cohort)


def test_a_tail_beyond_62_bits_is_refused() -> None:
    with pytest.raises(BoundError, match="could leave 62 bits"):
        tail(MAXIMUM_VARIANCE, n_banks=1 << 60, tolerated_colluders=(1 << 60) - 1, n_values=1)


# --- the noise of one machine ---------------------------------------------------------------------


def test_a_release_is_drawn_with_a_fresh_key_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = NoisedRelease(variance=1 << 40, moved=Fraction(1))
    first, second = draw(release, (4, 5)), draw(release, (4, 5))
    assert first.shape == (4, 5)
    assert not np.array_equal(first, second)
    asked: list[int] = []

    def token_bytes(n_bytes: int) -> bytes:
        asked.append(n_bytes)
        return bytes(n_bytes)

    monkeypatch.setattr(drawing.secrets, "token_bytes", token_bytes)
    assert np.array_equal(draw(release, (3,)), sample(np.full(3, 1 << 40), bytes(32)))
    assert asked == [32]


def test_one_machine_adds_the_noise_of_the_release() -> None:
    variances = np.array([1 << 40, 1 << 20])
    communicator = NoisySoloCommunicator(draw)
    values = np.zeros((2000, 2), dtype=np.int64)
    noised = communicator.noised_sum(
        values, bound=0, label="x", release=NoisedRelease(variance=variances, moved=Fraction(1))
    )
    spread = noised.astype(np.float64).std(axis=0) / np.sqrt(variances)
    # Fresh keys: twenty standard errors.
    assert (np.abs(spread - 1) < 20 / math.sqrt(2 * len(values))).all()
