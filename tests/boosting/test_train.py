"""Training: partition invariance, early stopping, and every refusal."""

import dataclasses
import hashlib

import numpy as np
import pytest
import xgboost
from cohorts.exact import CohortCommunicator, run_cohort
from cohorts.recording import RecordingCommunicator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import numpy_only

from fraudfed.boosting.metrics import pooled_metrics
from fraudfed.boosting.shard.tallies import metric_parts
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import TrainResult, TreeProgress, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import DataError, ParameterError
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

POOLED = synthetic_table(600, 6, np.random.default_rng(2), missing=0.1, categorical=2)
HELD_OUT = synthetic_table(500, 6, np.random.default_rng(2), missing=0.1, categorical=2)

#: Parameter sets that together use every kind of sum and every kind of sampling.
SETTINGS = [
    {"max_depth": 3},
    {"max_depth": 0, "max_leaves": 6, "grow_policy": "lossguide", "scale_pos_weight": 5.0},
    {"subsample": 0.6, "colsample_bytree": 0.7, "colsample_bynode": 0.8, "seed": 9},
    {"early_stopping_rounds": 2, "eval_metric": ["logloss", "aucpr"], "eta": 0.9},
]


def part_of(table: TrainingTable, chosen: np.ndarray) -> TrainingTable:
    return dataclasses.replace(
        table,
        features=table.features[chosen],
        labels=table.labels[chosen],
        weights=None if table.weights is None else table.weights[chosen],
    )


def weighted(table: TrainingTable, seed: int) -> TrainingTable:
    weights = np.random.default_rng(seed).uniform(0.1, 3.0, table.n_rows).astype(np.float32)
    return dataclasses.replace(table, weights=weights, max_weight=3.0)


def params_of(given_settings: dict[str, object]) -> BoosterParams:
    return BoosterParams.parse({"num_boost_round": 3, "max_bin": 16, **given_settings})


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_banks=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
    chosen=st.sampled_from(SETTINGS),
    has_weights=st.booleans(),
)
def test_the_model_does_not_depend_on_the_partition(
    n_banks: int, seed: int, chosen: dict[str, object], has_weights: bool
) -> None:
    params = params_of(chosen)
    table = weighted(POOLED, 1) if has_weights else POOLED
    stops_early = params.early_stopping_rounds is not None
    expected = train(
        params, table, SoloCommunicator(), validation=HELD_OUT if stops_early else None
    )
    rng = np.random.default_rng(seed)
    # Unequal banks, in another order of rows, and often one with no row at all.
    shares = rng.dirichlet(np.full(n_banks, 0.4))
    bank_of_row = rng.choice(n_banks, table.n_rows, p=shares)
    bank_of_held_out = rng.choice(n_banks, HELD_OUT.n_rows, p=shares)
    order = rng.permutation(table.n_rows)

    def program(bank: int, communicator: CohortCommunicator) -> TrainResult:
        mine = part_of(table, order[bank_of_row[order] == bank])
        held_out = part_of(HELD_OUT, np.flatnonzero(bank_of_held_out == bank))
        return train(params, mine, communicator, validation=held_out if stops_early else None)

    for found in run_cohort(n_banks, program):
        assert found.model.to_json() == expected.model.to_json()
        assert found.history == expected.history
        assert found.counts == expected.counts


@pytest.mark.parametrize("max_bin", [16, 256])
@pytest.mark.parametrize("chosen", SETTINGS, ids=lambda chosen: "-".join(chosen))
def test_neither_threads_nor_kernels_change_the_model_or_what_is_summed(
    chosen: dict[str, object], max_bin: int
) -> None:
    """Enough rows that every kernel really shares its work between threads."""
    table = weighted(synthetic_table(9000, 12, np.random.default_rng(3), missing=0.1), 4)
    held_out = synthetic_table(3000, 12, np.random.default_rng(5), missing=0.1)
    params = params_of({**chosen, "max_bin": max_bin})

    def run(threads: int) -> tuple[bytes, bytes, list[tuple[str, bytes, bytes]]]:
        recorder = RecordingCommunicator()
        result = train(params, table, recorder, validation=held_out, threads=threads)
        return result.model.to_json(), result.margins.tobytes(), recorder.calls

    with numpy_only():
        expected = run(1)
    for threads in (1, 2, 3, 7):
        assert run(threads) == expected


def test_a_bank_without_positives_and_a_bank_without_rows() -> None:
    negatives = np.flatnonzero(POOLED.labels == 0)
    parts = [
        part_of(POOLED, negatives[:200]),
        part_of(POOLED, np.empty(0, dtype=np.int64)),
        part_of(POOLED, np.setdiff1d(np.arange(POOLED.n_rows), negatives[:200])),
    ]
    params = params_of({})
    expected = train(params, POOLED, SoloCommunicator()).model.sha256
    found = run_cohort(3, lambda bank, communicator: train(params, parts[bank], communicator))
    assert [result.model.sha256 for result in found] == [expected] * 3
    assert [result.margins.size for result in found] == [part.n_rows for part in parts]


@pytest.mark.parametrize(
    ("xgboost_version", "digest"),
    [
        ("3.2", "b4458b9271100902084f98123d80491808c7d79f59ba70cf8ec1706db95659b9"),
        ("3.4", "6789c4767d039862113be0572b3e9a8c824aca57707f69ab08904c470510dd60"),
    ],
)
def test_the_bytes_of_a_model_are_fixed(xgboost_version: str, digest: str) -> None:
    # Everything in this table is exact in float32 and made without a random stream.
    n_rows = 512
    row = np.arange(n_rows)
    features = np.column_stack((row % 37, row % 8, (row * 7) % 101 / 4)).astype(np.float32)
    table = TrainingTable(
        schema=FeatureSchema(names=("a", "b", "c"), n_categories=(0, 8, 0)),
        features=features,
        labels=((row % 37 > 20) ^ (row % 8 == 3) ^ (row % 29 == 0)).astype(np.float32),
    )
    params = params_of(
        # Exact statistics: rounded ones would hide a difference.
        {"max_depth": 3, "xgboost_version": xgboost_version, "statistics_bits": 24}
    )
    model = train(params, table, SoloCommunicator()).model
    assert model.to_json().startswith(b'{"learner":{"attributes":{},"feature_names":["a","b","c"]')
    assert hashlib.sha256(model.to_json()).hexdigest() == model.sha256
    # Another digest on another machine: its arithmetic differs. Another digest after a change of
    # the code: old and new banks cannot train together. Which XGBoost is installed plays no part.
    assert model.sha256 == digest


def test_progress_is_told_after_each_tree() -> None:
    told: list[TreeProgress] = []
    result = train(params_of({}), POOLED, SoloCommunicator(), on_tree=told.append)
    assert tuple(told) == result.history
    assert [progress.tree_index for progress in told] == [0, 1, 2]
    assert all(progress.n_trees == 3 and progress.metrics == {} for progress in told)
    assert all(progress.n_leaves > 1 and progress.best_iteration is None for progress in told)
    assert result.best_iteration is None
    assert len(result.model.trees) == 3


@pytest.mark.parametrize("metric", ["logloss", "auc", "aucpr", "error"])
def test_early_stopping_is_xgboosts_rule(metric: str) -> None:
    rng = np.random.default_rng(4)
    # Half of the labels are noise: more trees soon make it worse.
    table, held_out = (
        dataclasses.replace(
            synthetic_table(700, 6, np.random.default_rng(seed)),
            labels=(rng.random(700) < 0.3).astype(np.float32),
        )
        for seed in (1, 2)
    )
    params = BoosterParams.parse(
        {"num_boost_round": 30, "early_stopping_rounds": 4, "eval_metric": ["error", metric]}
        if metric != "error"
        else {"num_boost_round": 30, "early_stopping_rounds": 4, "eval_metric": "error"}
    )
    result = train(params, table, SoloCommunicator(), validation=held_out)
    values = [progress.metrics[metric] for progress in result.history]
    best = values.index(max(values) if metric in ("auc", "aucpr") else min(values))
    assert result.best_iteration == best
    assert len(values) == min(30, best + 4 + 1)
    assert len(values) < 30
    assert len(result.model.trees) == best + 1
    assert result.model.attributes == {
        "best_iteration": str(best),
        "best_score": repr(values[best]),
    }
    booster = xgboost.Booster()
    booster.load_model(bytearray(result.model.to_json()))
    assert booster.best_iteration == best
    assert booster.best_score == values[best]
    # The metrics are those of the model as XGBoost predicts with it.
    data = xgboost.DMatrix(held_out.features, feature_names=list(held_out.schema.names))
    again = pooled_metrics(
        params.eval_metric,
        metric_parts(
            params.eval_metric, booster.predict(data, output_margin=True), held_out.labels
        ),
        SoloCommunicator(),
        n_rows=held_out.n_rows,
        n_positives=int(held_out.labels.sum()),
    )
    assert again[metric] == pytest.approx(values[best], abs=1e-6)


def test_validation_without_early_stopping_keeps_every_tree() -> None:
    result = train(
        params_of({"eval_metric": "auc"}), POOLED, SoloCommunicator(), validation=HELD_OUT
    )
    assert len(result.model.trees) == len(result.history) == 3
    assert result.best_iteration is not None
    assert result.model.attributes == {}
    assert all(list(progress.metrics) == ["auc"] for progress in result.history)


def test_shuffled_labels_teach_nothing() -> None:
    rng = np.random.default_rng(3)
    table = synthetic_table(6000, 6, np.random.default_rng(5))
    known, unknown = np.arange(3000), np.arange(3000, 6000)
    params = BoosterParams.parse(
        {"num_boost_round": 15, "max_depth": 3, "eval_metric": ["aucpr", "auc"]}
    )

    def last_metrics(labels: np.ndarray) -> dict[str, float]:
        labelled = dataclasses.replace(table, labels=labels)
        result = train(
            params,
            part_of(labelled, known),
            SoloCommunicator(),
            validation=part_of(table, unknown),
        )
        return dict(result.history[-1].metrics)

    learnt, shuffled = last_metrics(table.labels), last_metrics(rng.permutation(table.labels))
    prevalence = float(table.labels[unknown].mean())
    assert shuffled["aucpr"] < 2 * prevalence < learnt["aucpr"]
    assert abs(shuffled["auc"] - 0.5) < 0.1 < learnt["auc"] - 0.5


def test_one_class_is_refused_at_every_bank() -> None:
    table = dataclasses.replace(POOLED, labels=np.zeros_like(POOLED.labels))

    def program(bank: int, communicator: CohortCommunicator) -> str:
        with pytest.raises(DataError) as caught:
            train(params_of({}), part_of(table, np.arange(bank, 600, 3)), communicator)
        return str(caught.value)

    messages = run_cohort(3, program)
    assert len(set(messages)) == 1
    assert "600 training rows of all banks have only one class, label 0" in messages[0]


def test_validation_of_one_class_or_none_is_refused() -> None:
    params = params_of({"early_stopping_rounds": 2})
    positives = part_of(HELD_OUT, np.flatnonzero(HELD_OUT.labels == 1))
    with pytest.raises(
        DataError, match="validation rows of all banks have only one class, label 1"
    ):
        train(params, POOLED, SoloCommunicator(), validation=positives)
    nothing = part_of(HELD_OUT, np.empty(0, dtype=np.int64))
    with pytest.raises(DataError, match="no bank has any validation rows"):
        train(params, POOLED, SoloCommunicator(), validation=nothing)
    with pytest.raises(ParameterError, match="early_stopping_rounds is 2 but there are no"):
        train(params, POOLED, SoloCommunicator())
    other = synthetic_table(50, 5, np.random.default_rng(0))
    with pytest.raises(DataError, match="another schema"):
        train(params, POOLED, SoloCommunicator(), validation=other)


def spoilt(column: int, value: float) -> TrainingTable:
    features = POOLED.features.copy()
    features[17, column] = value
    return dataclasses.replace(POOLED, features=features)


def relabelled(value: float) -> TrainingTable:
    labels = POOLED.labels.copy()
    labels[17] = value
    return dataclasses.replace(POOLED, labels=labels)


def reweighted(value: float) -> TrainingTable:
    weights = np.ones_like(POOLED.labels)
    weights[17] = value
    return dataclasses.replace(POOLED, weights=weights, max_weight=2.0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (spoilt(0, np.inf), "feature 'f0' of row 17 is not a finite number or missing"),
        (spoilt(4, 3.0), "feature 'f4' of row 17 is not a category code from 0 to 2 or missing"),
        (spoilt(4, 0.5), "feature 'f4' of row 17 is not a category code"),
        (spoilt(4, -1.0), "feature 'f4' of row 17 is not a category code"),
        (relabelled(2.0), "the label of row 17 is not 0 or 1"),
        (relabelled(np.nan), "the label of row 17 is not 0 or 1"),
        (reweighted(0.0), "the weight of row 17 is not in"),
        (reweighted(2.5), "the weight of row 17 is not in"),
        (reweighted(np.nan), "the weight of row 17 is not in"),
        (
            dataclasses.replace(
                POOLED, schema=FeatureSchema(("a", "b", "c[0]", "d", "e", "f"), (0,) * 6)
            ),
            "feature name 'c\\[0\\]' contains '\\['",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_that_break_the_contract(table: TrainingTable, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        train(params_of({}), table, SoloCommunicator())
    assert "\n" not in str(caught.value)


def test_constraints_are_checked_before_any_sum() -> None:
    class Deaf:
        def sum(self, *args: object, **options: object) -> np.ndarray:
            raise AssertionError("a sum was asked for")

    with pytest.raises(ParameterError, match="no feature 'zz'"):
        train(params_of({"monotone_constraints": {"zz": 1}}), POOLED, Deaf())
