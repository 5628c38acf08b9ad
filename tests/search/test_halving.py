"""Which candidates grow on: pure functions of curves."""

import numpy as np
import pytest
from examples.shards import rows_with
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.evaluation.bank_metric import bank_auprc
from fraudfed.parameters import BoosterParams
from fraudfed.search.halving import Point, Standing, best_point, measured_best, ranked, survivors
from fraudfed.search.selection import own_units
from fraudfed.wire.messages.kinds.search import SelectBy

MEAN, POOLED = SelectBy.MEAN_OF_BANKS, SelectBy.POOLED


def standing(*means: float, share: float | None = None, **settings_: float) -> Standing:
    curve = tuple(Point(trees, mean, 1.0 - mean) for trees, mean in enumerate(means, start=1))
    return Standing(BoosterParams.parse(settings_), share, curve)


standings = st.lists(
    st.builds(
        lambda means, share, depth, weight: standing(
            *means, share=share, max_depth=depth, min_child_weight=weight
        ),
        st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=4),
        st.sampled_from([None, 0.0, 0.02]),
        st.sampled_from([4, 6]),
        st.sampled_from([1.0, 5.0]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(each=standings, alive=st.integers(1, 8), keep=st.booleans(), by=st.sampled_from(SelectBy))
def test_the_best_point_of_all_survives_and_of_each_share_as_far_as_there_is_room(
    each: list[Standing], alive: int, keep: bool, by: SelectBy
) -> None:
    kept = survivors(each, by, alive=alive, keep_each_share=keep)
    assert kept == sorted(set(kept))
    assert len(kept) == min(alive, len(each))
    values = [measured_best(one.curve, by)[1] for one in each]
    order = ranked(each, by)
    assert [values[at] for at in order] == sorted(values, reverse=True)
    if not keep:
        assert max(values[at] for at in kept) == max(values)
        assert set(kept) == set(order[:alive])
    else:
        firsts = {
            s: next(a for a in order if each[a].min_child_share == s)
            for s in (0.0, 0.02)
            if any(one.min_child_share == s for one in each)
        }
        if len(firsts) <= alive:
            assert set(firsts.values()) <= set(kept)
        # The others are the best of those that are left.
        rest = [at for at in order if at not in firsts.values()]
        room = max(0, alive - len(firsts))
        assert set(kept) - set(firsts.values()) == set(rest[:room])


@pytest.mark.parametrize(
    ("simpler", "other"),
    [
        (standing(0.4), standing(0.3, 0.4)),
        (standing(0.4, max_depth=3), standing(0.4, max_depth=4)),
        (standing(0.4, max_depth=9), standing(0.4, max_depth=0, max_leaves=8)),
        (standing(0.4, min_child_weight=5), standing(0.4, min_child_weight=2)),
    ],
)
def test_ties_go_to_the_simpler_model(simpler: Standing, other: Standing) -> None:
    assert ranked([other, simpler, standing(0.5)], MEAN) == [2, 1, 0]
    assert ranked([simpler, other, standing(0.5)], MEAN) == [2, 0, 1]
    assert ranked([other, other, simpler, simpler], MEAN) == [2, 3, 0, 1]


def test_a_point_without_a_pooled_value_decides_nothing_by_it() -> None:
    curve = (Point(1, 0.9, None), Point(2, 0.1, 0.5), Point(3, 0.2, 0.5))
    assert best_point(curve, MEAN) == curve[0]
    assert best_point(curve, POOLED) == curve[1]
    assert best_point(curve[:1], POOLED) is None
    with pytest.raises(ValueError, match="no value"):
        measured_best(curve[:1], POOLED)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 60), steps=st.integers(1, 30))
def test_a_banks_own_metric_is_that_of_evaluation(seed: int, n: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    margins = (rng.integers(0, steps, n) / 7 - 2).astype(np.float32)
    labels = np.zeros(n, dtype=np.float32)
    labels[rng.permutation(n)[: rng.integers(1, n)]] = 1
    assert own_units(rows_with(margins, labels)) == bank_auprc(margins, labels)
