"""The engine against XGBoost's ``hist``: every tree, every leaf, on the same bins."""

import json

import numpy as np
import pytest
import xgboost
from click.testing import CliRunner
from oracles.trees import oracle_params

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.lab.bench.parity import ParityResult, parity_command, run_parity
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.lab.oracle.same_trees import compare_trees, table_of_bins, train_on_bins
from fraudfed.parameters import BoosterParams


@pytest.mark.parametrize(("missing", "categorical"), [(0.0, 0), (0.1, 0), (0.0, 4), (0.2, 4)])
def test_every_tree_is_xgboosts(missing: float, categorical: int) -> None:
    result = run_parity(
        8000, 12, 12, max_depth=5, max_bin=32, missing=missing, categorical=categorical, seed=3
    )
    assert result.identical_trees == result.trees == 12
    assert result.max_leaf_difference < 1e-6
    assert result.max_margin_difference < 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        {"max_depth": 0, "max_leaves": 20, "grow_policy": "lossguide"},
        {"max_depth": 7, "max_leaves": 12},
        {"lambda": 0.0, "alpha": 0.7, "gamma": 0.5, "min_child_weight": 3.0, "eta": 0.1},
        {"scale_pos_weight": 9.0},
        {"max_delta_step": 0.25, "alpha": 0.4},
        {"base_score": 0.25},
        {"monotone_constraints": [1, -1, 0, 1]},
        {"max_cat_to_onehot": 16, "max_cat_threshold": 4},
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_parameter_means_what_it_means_to_xgboost(
    settings: dict[str, object], weighted: bool
) -> None:
    rng = np.random.default_rng(21)
    table = synthetic_table(5000, 8, rng, missing=0.05, categorical=3)
    if weighted:
        weights = rng.uniform(0.25, 2.0, table.n_rows).astype(np.float32)
        table = type(table)(table.schema, table.features, table.labels, weights, 2.0)
    params = oracle_params({"max_bin": 32, "num_boost_round": 6, **settings})
    ours = train(params, table, SoloCommunicator())
    codes = table_of_bins(table, ours.cuts)
    booster = train_on_bins(codes, params, {"max_bin": 32, **settings}, threads=1)
    compared = compare_trees(ours.model.to_json(), booster, ours.cuts, codes)
    assert (compared.identical, compared.trees) == (6, 6)
    assert compared.max_leaf_difference < 1e-6


def test_the_comparison_sees_a_difference() -> None:
    table = synthetic_table(3000, 6, np.random.default_rng(1))
    params = oracle_params({"max_bin": 16, "num_boost_round": 4, "max_depth": 4})
    ours = train(params, table, SoloCommunicator())
    codes = table_of_bins(table, ours.cuts)
    booster = train_on_bins(codes, params, {"max_bin": 16, "max_depth": 3}, threads=1)
    compared = compare_trees(ours.model.to_json(), booster, ours.cuts, codes)
    assert (compared.identical, compared.trees) == (0, 4)
    booster = train_on_bins(
        codes, params, {"max_bin": 16, "max_depth": 4, "lambda": 1.001}, threads=1
    )
    compared = compare_trees(ours.model.to_json(), booster, ours.cuts, codes)
    assert compared.max_leaf_difference > 1e-6


@pytest.mark.parametrize("form", ["to_json", "to_ubj"])
def test_xgboost_predicts_our_margins_explains_and_goes_on(form: str) -> None:
    table = synthetic_table(4000, 9, np.random.default_rng(5), missing=0.1, categorical=4)
    params = BoosterParams.parse({"num_boost_round": 8, "max_depth": 4, "max_bin": 64})
    result = train(params, table, SoloCommunicator())
    booster = xgboost.Booster()
    booster.load_model(bytearray(getattr(result.model, form)()))
    data = xgboost.DMatrix(
        table.features,
        label=table.labels,
        feature_names=list(table.schema.names),
        feature_types=["c" if count else "float" for count in table.schema.n_categories],
        enable_categorical=True,
    )
    margins = booster.predict(data, output_margin=True)
    np.testing.assert_allclose(margins, result.margins, rtol=0, atol=1e-6)
    contributions = booster.predict(data, pred_contribs=True)
    np.testing.assert_allclose(contributions.sum(axis=1), margins, atol=1e-4)
    longer = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "tree_method": "hist"},
        data,
        num_boost_round=3,
        xgb_model=booster,
        evals=[(data, "train")],
        evals_result=(history := {}),
        verbose_eval=False,
    )
    assert longer.num_boosted_rounds() == 11
    losses = history["train"]["logloss"]
    assert losses == sorted(losses, reverse=True)


def test_the_workload_is_the_same_every_time() -> None:
    first, second = (
        synthetic_table(500, 6, np.random.default_rng(8), missing=0.3, categorical=2)
        for _ in range(2)
    )
    assert first.features.tobytes() == second.features.tobytes()
    assert first.labels.mean() == pytest.approx(0.02, abs=0.003)
    assert np.isnan(first.features).mean() == pytest.approx(0.3, abs=0.05)
    assert first.schema.n_categories == (0, 0, 0, 0, 3, 12)


def test_command_prints_the_figures() -> None:
    arguments = ["--rows", "1000", "--features", "4", "--trees", "3", "--max-bin", "16"]
    arguments += ["--threads", "1", "--repeats", "2"]
    text = CliRunner().invoke(parity_command, arguments)
    assert text.exit_code == 0
    assert "identical trees        3 of 3" in text.output
    assert "draws                  none" in text.output
    as_json = CliRunner().invoke(parity_command, [*arguments, "--json"])
    result = ParityResult(**json.loads(as_json.output))
    assert (result.identical_trees, result.trees, result.rows) == (3, 3, 1000)
    assert result.versions["xgboost"] == xgboost.__version__
    assert result.ratio == result.seconds_ours / result.seconds_xgboost
    assert (result.threads, result.repeats) == (1, 2)
    assert result.kernel == load_engine().name
    assert f"kernel                 {result.kernel}" in text.output


def test_command_gives_xgboost_the_draws() -> None:
    arguments = ["--rows", "2000", "--features", "6", "--trees", "4", "--categorical", "2"]
    arguments += ["--subsample", "0.7", "--colsample-bytree", "0.5"]
    arguments += ["--threads", "1", "--repeats", "1"]
    text = CliRunner().invoke(parity_command, arguments)
    assert text.exit_code == 0
    assert "identical trees        4 of 4\n" in text.output
    assert "draws                  ours, given to xgboost tree by tree" in text.output
    assert "subsample 0.7, colsample_bytree 0.5" in text.output
    assert "largest margin diff.   not compared" in text.output


def test_command_refuses_more_categories_than_features() -> None:
    result = CliRunner().invoke(parity_command, ["--features", "3", "--categorical", "4"])
    assert result.exit_code == 2
    assert "4 of 3 features" in result.output
