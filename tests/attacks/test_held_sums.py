"""A member makes sums open to what no rows are: every bank refuses, in the same constant words."""

from collections.abc import Callable

import numpy as np
import pytest
from cohorts.lying import Asked, Seen, adds, see

from fraudfed import held_sums
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train_checked
from fraudfed.communicator import Communicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import SumError
from fraudfed.held_sums import Untrue
from fraudfed.parameters import BoosterParams

PARAMS = BoosterParams.parse(
    {"num_boost_round": 1, "max_depth": 2, "max_bin": 4, "eval_metric": ["error", "auc"]}
)
N_ROWS = 300


def _table(bank: int) -> TrainingTable:
    rng = np.random.default_rng(bank)
    features = rng.normal(size=(N_ROWS, 2)).astype(np.float32)
    features[rng.random(N_ROWS) < 0.2, 1] = np.nan
    labels = (np.nan_to_num(features[:, 1]) > 0.2).astype(np.float32)
    return TrainingTable(FeatureSchema(("a", "b"), (0, 0)), features, labels)


def _see(*rules: tuple[str, Callable[[Asked], Int64Array]]) -> Seen:
    def program(bank: int, communicator: Communicator) -> str:
        table = _table(bank)
        found = train_checked(PARAMS, table, communicator, validation=table, threads=1)
        return found.model.sha256

    return see(2, program, member=adds(rules))


def _opens_to(change: Callable[[Int64Array, Asked], None]) -> Callable[[Asked], Int64Array]:
    def rule(asked: Asked) -> Int64Array:
        wanted = asked.honest.copy()
        change(wanted, asked)
        return wanted - asked.honest

    return rule


def _more_positives_than_rows(wanted: Int64Array, asked: Asked) -> None:
    wanted[1] = wanted[0] + 1


def _twice_all_rows(wanted: Int64Array, asked: Asked) -> None:
    wanted[0, :2] = asked.bound[0, :2]


def _more_parts_than_the_bucket(wanted: Int64Array, asked: Asked) -> None:
    wanted[0, :2] = asked.bound[0, :2]


def _gradient_without_hessian(wanted: Int64Array, asked: Asked) -> None:
    at = int(np.argmax(asked.bound[0, :-1]))
    wanted[0, at], wanted[1, at] = asked.bound[0, at], 0


def _bins_above_their_node(wanted: Int64Array, asked: Asked) -> None:
    """Say that the node is three bins of one feature: less than those of the other."""
    wanted[:, -1] = wanted[:, :4].sum(axis=1)


def _a_row_ranked_twice(wanted: Int64Array, asked: Asked) -> None:
    wanted[-1] += 1


def _raised(fault: Untrue) -> str:
    with pytest.raises(SumError) as error:
        held_sums.hold(False, fault)
    return f"SumError: {error.value}"


TEXTS = {fault: _raised(fault) for fault in Untrue}


CASES = {
    Untrue.ROWS: ("rows", _more_positives_than_rows),
    Untrue.BUCKETS: ("cuts:pass 1", _twice_all_rows),
    Untrue.PARTS: ("cuts:pass 2", _more_parts_than_the_bucket),
    Untrue.SETS: ("histogram:tree 0 step 0", _gradient_without_hessian),
    Untrue.MISSING: ("histogram:tree 0 step 0", _bins_above_their_node),
    Untrue.METRICS: ("metric", _a_row_ranked_twice),
}


@pytest.mark.parametrize("fault", CASES)
def test_what_no_rows_are_is_refused_by_all_in_the_same_words(fault: Untrue) -> None:
    label, change = CASES[fault]
    seen = _see((label, _opens_to(change)))
    assert seen.calls[-1].label.startswith(label), "refused at once"
    assert seen.ends == (TEXTS[fault],) * 2


@pytest.mark.parametrize("fault", CASES)
def test_control_without_the_rules_it_decides_a_model(
    fault: Untrue, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, change = CASES[fault]
    monkeypatch.setattr(held_sums, "hold", lambda is_true, otherwise: None)
    seen = _see((label, _opens_to(change)))
    assert seen.ends[0] == seen.ends[1]
    assert TEXTS[fault] not in seen.ends
    if fault in (Untrue.BUCKETS, Untrue.METRICS):
        assert len(seen.ends[0]) == 64, "a model"


def _child_shifts() -> list[tuple[int, int]]:
    (call,) = [call for call in _see().calls if call.label == "histogram:tree 0 step 1"]
    bounds = np.frombuffer(call.bound, dtype=np.int64).reshape(call.shape)
    return [(1, at) for at in np.flatnonzero(bounds[1]).tolist()]


def test_a_child_that_leaves_its_sibling_rows_in_emptied_bins_is_refused() -> None:
    """Where a split has emptied a bin of one child, the other has all that the parent has of it."""
    ends = set()
    for row, at in _child_shifts():

        def takes_one(wanted: Int64Array, asked: Asked, place: tuple[int, int] = (row, at)) -> None:
            wanted[place] -= 1

        seen = _see(("histogram:tree 0 step 1", _opens_to(takes_one)))
        ends |= set(seen.ends)
    assert TEXTS[Untrue.CHILDREN] in ends


def test_honest_rows_pass_every_rule() -> None:
    seen = _see()
    assert seen.ends[0] == seen.ends[1]
    assert len(seen.ends[0]) == 64


@pytest.mark.parametrize("fault", Untrue)
def test_no_text_holds_a_number(fault: Untrue) -> None:
    assert not any(character.isdigit() for character in TEXTS[fault])


def test_masses_and_days_are_held_to_their_range() -> None:
    """Slots hold them as well; what is summed without slots is held to the same."""
    most = np.array([5, 7])
    held_sums.hold_masses(np.array([0, 7]), most)
    for wrong in ([-1, 7], [0, 8]):
        with pytest.raises(SumError, match="weights"):
            held_sums.hold_masses(np.array(wrong), most)
    held_sums.hold_day_totals(np.array([[0, 9]]), most=9)
    for total in (-1, 10):
        with pytest.raises(SumError, match="totals of days"):
            held_sums.hold_day_totals(np.array([[0, total]]), most=9)
    for count in (-1, 10):
        with pytest.raises(SumError, match="metric"):
            held_sums.hold_share(count, most=9)
    with pytest.raises(SumError, match="set of rows"):
        held_sums.hold_range(np.array([2.0**63]))
