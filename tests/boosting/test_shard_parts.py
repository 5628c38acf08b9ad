"""A shard of several parts is the sum of its parts: every sum and every byte is that of one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cohorts.noising import ChosenNoise, noise_of_labels
from cohorts.recording import RecordingCommunicator
from examples.searched import COMMON, SELECT, SPEC, TABLE, alone
from hypothesis import given, settings
from hypothesis import strategies as st
from private_tables import PARAMS, table_of, terms_of

from fraudfed.boosting.private.train import train_private
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.parts import PartedRows, PartedShard
from fraudfed.boosting.shard.weights import scaled, total_of, weight_parts
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError, ParameterError, SumError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.terms import PrivacyUnit, TrainingWay
from fraudfed.search.search import search
from fraudfed.search.selection import SelectRows

SCHEMA = FeatureSchema(("a", "b", "c", "d"), (0, 3, 0, 0))
#: A training of a few small trees, and what else it may do.
SETTINGS: dict[str, Any] = {"num_boost_round": 3, "max_depth": 3, "max_bin": 8, "eta": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "drawn rows": {"subsample": 0.6, "seed": 4},
    "drawn columns": {"colsample_bytree": 0.8, "colsample_bynode": 0.7, "seed": 1},
    "by loss": {"grow_policy": "lossguide", "max_leaves": 5, "max_depth": 0},
    "two banks a child": {"min_child_banks": 1, "min_bank_share": 0.1},
    "positives weigh more": {"scale_pos_weight": 7.5},
    "bounded weight": {"max_bank_weight": 17.3},
}


def rows_of(seed: int, n_rows: int, *, weighted: bool = False) -> TrainingTable:
    """Draw rows with missing values and categories, some of them twice."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, 4)).astype(np.float32)
    features[:, 1] = rng.integers(0, 3, n_rows)
    features[:, 2] = np.round(features[:, 2])
    labels = (features[:, 0] + rng.normal(size=n_rows) > 0.5).astype(np.float32)
    labels[:2] = (0, 1)
    features[rng.random(features.shape) < 0.15] = np.nan
    features[n_rows // 2 :: 5] = features[n_rows // 2]
    weights = (rng.random(n_rows) * 3 + 0.001).astype(np.float32) if weighted else None
    return TrainingTable(SCHEMA, features, labels, weights, 4.0)


def take(table: TrainingTable, rows: Int64Array) -> TrainingTable:
    return TrainingTable(
        table.schema,
        table.features[rows],
        table.labels[rows],
        None if table.weights is None else table.weights[rows],
        table.max_weight,
        None if table.customers is None else table.customers[rows],
    )


def parted(table: TrainingTable, n_parts: int, seed: int) -> tuple[PartedShard, Int64Array]:
    """Part rows at random, in a random order; some parts may be empty. Also return the order."""
    rng = np.random.default_rng(seed)
    part_of_row = rng.integers(0, n_parts, table.n_rows)
    order = rng.permutation(table.n_rows)
    rows = [order[part_of_row[order] == part] for part in range(n_parts)]
    shard = PartedShard([LocalShard(take(table, part)) for part in rows])
    return shard, np.concatenate(rows)


def recorded(
    run: Callable[[RecordingCommunicator], TrainResult],
) -> tuple[bytes, list[tuple[str, bytes, bytes, bytes]], TrainResult]:
    recorder = RecordingCommunicator()
    result = run(recorder)
    return result.model.to_json(), recorder.calls, result


@settings(max_examples=40, deadline=None)
@given(
    case=st.sampled_from(sorted(CASES)),
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(6, 120),
    n_parts=st.integers(1, 5),
    weighted=st.booleans(),
)
def test_any_parts_send_the_same_sums_and_give_the_same_bytes(
    case: str, seed: int, n_rows: int, n_parts: int, weighted: bool
) -> None:
    params = BoosterParams.parse({**SETTINGS, **CASES[case]})
    table = rows_of(seed, n_rows, weighted=weighted)
    shard, order = parted(table, n_parts, seed)
    model, sent, whole = recorded(lambda alone_: train(params, table, alone_))
    again, sent_again, result = recorded(lambda alone_: train(params, shard, alone_))
    assert again == model
    assert sent_again == sent
    assert result.margins.tobytes() == whole.margins[order].tobytes()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_parts=st.integers(1, 4),
    steps=st.integers(1, 5),
    n_rows=st.integers(6, 80),
)
def test_metrics_early_stops_and_any_state_do_not_depend_on_the_parts(
    seed: int, n_parts: int, steps: int, n_rows: int
) -> None:
    params = BoosterParams.parse(
        {
            **SETTINGS,
            "num_boost_round": 4,
            "early_stopping_rounds": 2,
            "eval_metric": ["logloss", "error", "auc", "aucpr"],
        }
    )
    table, held_out = rows_of(seed, n_rows), rows_of(seed + 1, n_rows)
    shard, _ = parted(table, n_parts, seed)
    validation, _ = parted(held_out, n_parts, seed + 1)
    states: list[TrainingState] = []
    model, sent, whole = recorded(
        lambda alone_: train(params, table, alone_, validation=held_out, on_step=states.append)
    )
    again, sent_again, result = recorded(
        lambda alone_: train(params, shard, alone_, validation=validation)
    )
    assert (again, sent_again) == (model, sent)
    assert result.history == whole.history
    start = states[min(steps, len(states)) - 1]
    resumed = train(params, shard, SoloCommunicator(), validation=validation, start=start)
    assert resumed.model.to_json() == model


@pytest.mark.parametrize("n_parts", [2, 5])
def test_a_search_does_not_depend_on_the_parts(n_parts: int) -> None:
    select = SelectRows.of(SELECT)
    assert isinstance(select.shard, LocalShard)
    judged, _ = parted(select.shard.table, n_parts, 1)
    shard, _ = parted(TABLE, n_parts, 2)
    found = search(SPEC, COMMON, shard, SelectRows(judged, select.weight), SoloCommunicator())
    assert found.to_json() == alone().to_json()
    assert found.model.to_json() == alone().model.to_json()


@pytest.mark.parametrize("way", list(TrainingWay))
def test_a_private_training_of_rows_does_not_depend_on_the_parts(way: TrainingWay) -> None:
    table = table_of(300)
    shard, _ = parted(table, 3, 1)
    terms = terms_of(way=way, unit=PrivacyUnit.ROW)
    one, other = (
        train_private(PARAMS, terms, each, ChosenNoise(noise_of_labels(1))).model.to_json()
        for each in (table, shard)
    )
    assert one == other


def test_a_customer_in_several_parts_is_refused_before_anything_is_summed() -> None:
    table = table_of(300)
    assert table.customers is not None
    shard, _ = parted(table, 3, 1)
    terms = terms_of(unit=PrivacyUnit.CUSTOMER)
    communicator = ChosenNoise(noise_of_labels(1))
    with pytest.raises(ParameterError, match="customer"):
        train_private(PARAMS, terms, shard, communicator)
    one = PartedShard([LocalShard(table)])
    assert train_private(PARAMS, terms, one, communicator).model.trees


def test_a_message_counts_rows_over_all_parts() -> None:
    table = rows_of(1, 30)
    table.labels[17] = 0.5
    parts = [LocalShard(take(table, rows)) for rows in np.split(np.arange(30), [4, 4, 20])]
    with pytest.raises(DataError, match="label of row 17 is not 0 or 1"):
        PartedShard(parts).check("training rows")


def test_parts_that_differ_are_refused() -> None:
    table = rows_of(1, 30)
    with pytest.raises(ValueError, match="parts differ"):
        PartedShard([LocalShard(table), LocalShard(rows_of(1, 30, weighted=True))])
    with pytest.raises(ValueError, match="one part at least"):
        PartedShard([])


weights_lists = st.lists(
    st.floats(2.0**-149, float(np.finfo(np.float32).max), width=32, exclude_min=False),
    max_size=40,
)


@given(weights=weights_lists, seed=st.integers(0, 2**32 - 1))
def test_weights_add_up_exactly_in_any_order(weights: list[float], seed: int) -> None:
    each: Float32Array = np.array(weights, dtype=np.float32)
    shuffled = np.random.default_rng(seed).permutation(each)
    first, second = np.array_split(shuffled, 2)
    parts = weight_parts(each, each.size)
    halves = weight_parts(first, first.size) + weight_parts(second, second.size)
    assert halves.tobytes() == parts.tobytes()
    assert total_of(parts) == sum(map(int_of, weights)) / 2.0**149
    ones = np.ones(each.size, dtype=np.float32)
    assert weight_parts(None, each.size).tobytes() == weight_parts(ones, each.size).tobytes()


def int_of(weight: float) -> int:
    """Return a float32 in units of the smallest one."""
    numerator, denominator = weight.as_integer_ratio()
    return numerator * (2**149 // denominator)


def test_control_a_float_sum_of_weights_depends_on_the_parts() -> None:
    rng = np.random.default_rng(1)
    weights = np.exp2(rng.uniform(-40, 40, 4000)).astype(np.float32).astype(np.float64)
    sums = {float(part.cumsum()[-1]) for part in (weights, weights[::-1], np.sort(weights))}
    assert len(sums) > 1


def test_control_parts_that_are_not_added_up_give_another_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = rows_of(3, 100)
    shard, _ = parted(table, 3, 3)
    params = BoosterParams.parse(SETTINGS)
    right = train(params, table, SoloCommunicator()).model.to_json()
    assert train(params, shard, SoloCommunicator()).model.to_json() == right
    grow = PartedRows.grow

    def forgetful(self: PartedRows, **given_: Any) -> Any:
        growing = grow(self, **given_)
        growing.parts = growing.parts[:1]
        return growing

    monkeypatch.setattr(PartedRows, "grow", forgetful)
    try:
        other = train(params, shard, SoloCommunicator()).model.to_json()
    except SumError as error:  # sums that are none of the rows
        other = repr(error).encode()
    assert other != right


def test_scaled_weights_do_not_grow_and_a_factor_of_one_keeps_them() -> None:
    table = rows_of(1, 50, weighted=True)
    assert table.weights is not None
    kept, less = scaled(table, 1.0), scaled(table, 0.3)
    assert kept.weights is not None
    assert less.weights is not None
    assert kept.weights.tobytes() == table.weights.tobytes()
    assert (less.weights < table.weights).all()
