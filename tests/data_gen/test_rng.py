"""The distributions derived from uniforms, and the independence of streams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data_gen.rng import Part, stream

FIXED_UNIFORMS = [0.4674907799518424, 0.04644889644868733, 0.5955100095961371]


def test_a_stream_depends_on_its_key_alone() -> None:
    first = stream(1, Part.TOWNS).uniform(5)
    stream(1, Part.BANKS).uniform(1000)
    np.testing.assert_array_equal(stream(1, Part.TOWNS).uniform(5), first)
    for other in (stream(1, Part.BANKS), stream(2, Part.TOWNS), stream(1, Part.TOWNS, 0)):
        assert not np.array_equal(other.uniform(5), first)


def test_stream_is_the_spawned_child_of_the_seed_sequence() -> None:
    child = np.random.SeedSequence(9).spawn(int(Part.TOWNS) + 1)[int(Part.TOWNS)]
    expected = np.random.Generator(np.random.PCG64(child)).random(8)
    np.testing.assert_array_equal(stream(9, Part.TOWNS).uniform(8), expected)


def test_uniform_numbers_are_those_of_pcg64_for_ever() -> None:
    # Fixed vector: a change means that every published data set would change.
    np.testing.assert_array_equal(
        stream(42, Part.BANKS).uniform(3),
        FIXED_UNIFORMS,
    )


def test_normal_and_exponential_have_their_distribution() -> None:
    assert stats.kstest(stream(3, Part.BANKS).normal(20_001), "norm").pvalue > 0.001
    assert stats.kstest(stream(3, Part.BANKS).exponential(20_000), "expon").pvalue > 0.001


@pytest.mark.parametrize("mean", [0.0, 0.2, 3.0, 39.0, 41.0, 400.0])
def test_poisson_has_its_mean_and_variance(mean: float) -> None:
    counts = stream(5, Part.BANKS).poisson(np.full(40_000, mean))
    assert counts.min() >= 0
    assert counts.mean() == pytest.approx(mean, abs=5.0 * np.sqrt(mean / 40_000))
    assert counts.var() == pytest.approx(mean, rel=0.05)


def test_small_poisson_counts_follow_the_mass_function() -> None:
    counts = np.bincount(stream(6, Part.BANKS).poisson(np.full(50_000, 1.5)), minlength=6)[:6]
    np.testing.assert_allclose(counts / 50_000, stats.poisson(1.5).pmf(np.arange(6)), atol=0.01)


@pytest.mark.parametrize("shape", [0.02, 0.5, 1.0, 7.5, 300.0])
def test_gamma_numbers_have_their_distribution(shape: float) -> None:
    logs = stream(4, Part.BANKS).log_gamma(np.full((100, 100), shape))
    assert np.isfinite(logs).all()
    # Compared on the log scale: with a small shape most numbers are too small for a float.
    assert stats.kstest(logs.ravel(), stats.loggamma(shape).cdf).pvalue > 0.001


def test_dirichlet_shares_have_the_mean_and_spread_of_their_parameters() -> None:
    parameters = np.array([0.5, 1.5, 3.0])
    shares = stream(4, Part.BANKS).dirichlet(np.tile(parameters, (40_000, 1)))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    expected = stats.dirichlet(parameters)
    np.testing.assert_allclose(shares.mean(axis=0), expected.mean(), atol=0.005)
    np.testing.assert_allclose(shares.var(axis=0), expected.var(), atol=0.002)


@given(st.lists(st.floats(1e-4, 1e6), min_size=2, max_size=8), st.integers(0, 2**32))
def test_dirichlet_shares_sum_to_one_whatever_the_parameters(
    parameters: list[float], seed: int
) -> None:
    shares = stream(seed, Part.BANKS).dirichlet(np.array([parameters]))
    assert (shares >= 0.0).all()
    assert shares.sum() == pytest.approx(1.0)


@given(
    weights=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=20).filter(lambda w: sum(w) > 1e-6),
    seed=st.integers(0, 2**32),
)
def test_pick_returns_only_indices_of_positive_weight(weights: list[float], seed: int) -> None:
    array = np.array(weights)
    picked = stream(seed, Part.BANKS).pick(array, 200)
    assert (array[picked] > 0.0).all()


def test_pick_follows_the_weights() -> None:
    picked = stream(8, Part.BANKS).pick(np.array([1.0, 0.0, 3.0]), 40_000)
    np.testing.assert_allclose(np.bincount(picked) / 40_000, [0.25, 0.0, 0.75], atol=0.01)
