"""The distance between banks: laws, an example by hand, and the one dial that moves it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.settings.config import WorldConfig
from data_gen.world.distance import bank_distance, distance_matrix, mix_counts
from data_gen.world.making import make_bank, make_world

COUNTS = st.lists(
    st.lists(st.integers(0, 1_000), min_size=4, max_size=4), min_size=2, max_size=6
).map(np.array)


def test_an_example_by_hand() -> None:
    counts = np.array([[5, 5, 0], [50, 0, 50], [0, 0, 7]])
    expected = [[0.0, 0.5, 1.0], [0.5, 0.0, 0.5], [1.0, 0.5, 0.0]]
    np.testing.assert_allclose(distance_matrix(counts), expected)
    assert bank_distance(counts) == pytest.approx(2.0 / 3.0)
    same = np.array([[1, 1], [2, 2], [9, 9]])
    assert bank_distance(counts, same) == pytest.approx(1.0 / 3.0)


@given(COUNTS)
def test_it_is_a_distance_between_0_and_1(counts: np.ndarray) -> None:
    counts = counts + 1
    distance = distance_matrix(counts)
    np.testing.assert_allclose(distance, distance.T)
    np.testing.assert_array_equal(np.diag(distance), 0.0)
    assert (distance >= 0.0).all()
    assert (distance <= 1.0).all()
    # No detour is shorter than the direct way.
    assert (distance[:, None, :] <= distance[:, :, None] + distance[None, :, :] + 1e-12).all()


@given(COUNTS, st.integers(1, 50))
def test_the_size_of_a_bank_does_not_matter(counts: np.ndarray, factor: int) -> None:
    larger = counts.copy()
    larger[0] *= factor
    np.testing.assert_allclose(distance_matrix(larger), distance_matrix(counts), atol=1e-12)


def test_banks_without_counts_and_single_banks_are_at_no_distance() -> None:
    assert bank_distance(np.array([[1, 2, 3]])) == 0.0
    assert bank_distance(np.array([[0, 0], [1, 2]])) == 0.0


def _measured(config: WorldConfig) -> float:
    world = make_world(config)
    counts = [
        mix_counts(world.shared, make_bank(world, bank).events) for bank in range(config.banks)
    ]
    return bank_distance(*(np.array([c[name] for c in counts]) for name in counts[0]))


def test_the_dial_leads_from_identical_to_disjoint_banks() -> None:
    base = WorldConfig(
        banks=4,
        customers=1_600,
        days=60,
        fraud_rate=0.05,
        size_exponent=0.0,
        multi_bank_share=0.0,
        kind_share=(0.28, 0.16, 0.22, 0.12, 0.14, 0.0, 0.08),
    )
    # The mean of several worlds: two draws with different dials are independent.
    found = [
        np.mean([_measured(base.replace(seed=seed, dirichlet=dial)) for seed in range(3)])
        for dial in (0.2, 2.0, 20.0, 1_000.0)
    ]
    assert (np.diff(found) < 0.0).all()
    assert found[0] > 0.5
    assert found[-1] < 0.2


def test_counts_of_a_bank_add_up() -> None:
    world = make_world(WorldConfig(banks=2, customers=100, days=20, fraud_rate=0.05))
    events = make_bank(world, 0).events
    counts = mix_counts(world.shared, events)
    assert counts["channel"].sum() == len(events)
    assert counts["town"].sum() == (events.terminal >= 0).sum()
    assert counts["kind"].sum() == (events.kind >= 0).sum()
    half = np.arange(len(events)) % 2 == 0
    first = mix_counts(world.shared, events.take(half))
    second = mix_counts(world.shared, events.take(~half))
    for name, total in counts.items():
        np.testing.assert_array_equal(first[name] + second[name], total)
