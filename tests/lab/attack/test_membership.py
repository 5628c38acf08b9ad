"""Membership inference breaks what it must break, and finds nothing where nothing is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.boosting.table import TrainingTable
from fraudfed.lab.attack.membership.challenges import Kind, plant, training_rows
from fraudfed.lab.attack.membership.likelihood import area, likelihood_ratios, rate_at
from fraudfed.lab.attack.membership.measure import infer_membership
from fraudfed.lab.attack.membership.result import KindFigures, MembershipFigures
from fraudfed.lab.attack.worlds import OVERFITTED, Trainer, exact_trainer
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

CLOSE = BoosterParams.parse({**OVERFITTED, "num_boost_round": 10})


def table_of(seed: int, n_rows: int) -> TrainingTable:
    return synthetic_table(n_rows, 5, np.random.default_rng(seed), prevalence=0.3)


def attacked(trainer: Trainer) -> dict[str, KindFigures]:
    found = infer_membership(
        table_of(0, 300),
        table_of(1, 700),
        trainer,
        shadows=6,
        each=60,
        copies=4,
        generator=np.random.default_rng(2),
        threads=1,
    )
    return {kind.kind: kind for kind in found}


def test_control_a_model_that_remembers_its_rows_shows_who_they_are() -> None:
    kinds = attacked(exact_trainer(CLOSE, threads=1))
    for kind in (Kind.MISLABELLED, Kind.RARE):
        assert kinds[kind].attack.low > 0.6
        assert kinds[kind].attack.area > kinds[kind].guess.area + 0.1
        assert kinds[kind].elsewhere.area > 0.6


def test_a_model_that_never_saw_the_rows_shows_nobody() -> None:
    """The negative control: with or without a row, it is the same model."""
    model = exact_trainer(CLOSE, threads=1)(table_of(5, 200))
    for kind in attacked(lambda _: model).values():
        assert kind.attack.area == 0.5
        assert [rate.found.hits for rate in kind.attack.rates] == [0, 0]


@given(st.integers(0, 2**32))
def test_scores_that_do_not_depend_on_membership_are_a_coin(seed: int) -> None:
    generator = np.random.default_rng(seed)
    asked = generator.normal(size=(8, 400))
    held = generator.random((8, 400)) < 0.5
    ratios = likelihood_ratios(generator.normal(size=400), asked, held)
    is_member = np.arange(400) % 2 == 0
    value, _, _ = area(ratios[is_member], ratios[~is_member])
    # Six standard errors.
    assert abs(value - 0.5) < 0.18


@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 200))
def test_no_more_others_pass_than_are_allowed(seed: int, n_members: int, n_others: int) -> None:
    generator = np.random.default_rng(seed)
    members = generator.integers(0, 9, n_members).astype(float)
    others = generator.integers(0, 9, n_others).astype(float)
    found = rate_at(members, others, 0.1).found
    allowed = int(0.1 * n_others)
    threshold = np.sort(others)[::-1][allowed]
    assert np.count_nonzero(others > threshold) <= allowed
    assert found.hits == np.count_nonzero(members > threshold)


@given(st.integers(0, 2**32))
def test_the_area_counts_pairs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = (
        generator.integers(0, 5, 9).astype(float),
        generator.integers(0, 5, 7).astype(float),
    )
    pairs = [(a > b) + (a == b) / 2 for a in one for b in other]
    value, low, high = area(one, other)
    assert value == pytest.approx(np.mean(pairs))
    assert low <= value <= high


def test_challenges_that_are_no_members_are_in_no_training() -> None:
    generator = np.random.default_rng(0)
    challenges, rest = plant(
        table_of(0, 300), table_of(1, 300), each=40, copies=3, generator=generator
    )
    coins = challenges.flip(generator, attacked=True)
    assert not coins[challenges.of_kind(Kind.ELSEWHERE)].any()
    rows = training_rows(rest, challenges, coins)
    assert rows.n_rows == rest.n_rows + int(challenges.copies[coins].sum())
    trained = {row.tobytes() for row in rows.features}
    for row in np.flatnonzero(~coins):
        if challenges.kinds[row] is not Kind.RARE:
            assert challenges.table.features[row].tobytes() not in trained


@given(
    epsilon=st.floats(0.01, 5.0),
    false_positive_rate=st.floats(0.0, 1.0),
    copies=st.integers(1, 4),
)
def test_the_claim_allows_no_less_than_guessing_and_grows(
    epsilon: float, false_positive_rate: float, copies: int
) -> None:
    figures = MembershipFigures("w", 0, 1, 2, "noised", epsilon, 1e-6, ())
    allowed = figures.most_found(false_positive_rate, copies)
    assert allowed is not None
    assert false_positive_rate - 1e-9 <= allowed <= 1.0
    more = figures.most_found(false_positive_rate, copies + 1)
    assert more is not None
    assert more >= allowed - 1e-9


def test_without_a_claim_nothing_is_bounded() -> None:
    assert MembershipFigures("w", 0, 1, 2, "exact", None, None, ()).most_found(0.1, 1) is None
