"""Contributions and the base add up to the margin, whatever the model of trees.

The bound: 1e-5 log-odds, or 1e-5 of the sum of what all features add and take away where that is
more than 1; float32 holds 7 digits, so that no absolute bound holds for every model.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.serving.scorer import Scorer
from fraudfed.boosting.model_reader import read_model
from fraudfed.errors import StateError
from fraudfed.intake.plain_table import contract_schema
from fraudfed.reasons import Catalogue, group_sums
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType

BOUND = 1e-5
CONTRACT = DataContract(
    kind="table",
    features=(
        *(FeatureSpec(name=f"n{number}") for number in range(4)),
        *(
            FeatureSpec(
                name=f"c{n_categories}",
                type=FeatureType.CATEGORICAL,
                categories=tuple(f"v{code}" for code in range(n_categories)),
            )
            for n_categories in (2, 12)
        ),
    ),
)
NAMES = [spec.name for spec in CONTRACT.features]
TYPES = ["c" if spec.categories else "q" for spec in CONTRACT.features]


def drawn(seed: int, n_rows: int, missing: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and labels that depend on every feature."""
    draws = np.random.default_rng(seed)
    rows = draws.normal(0, scale, (n_rows, len(NAMES)))
    for place, spec in enumerate(CONTRACT.features):
        if spec.categories:
            rows[:, place] = draws.integers(0, len(spec.categories), n_rows)
    signal = rows[:, 0] / scale + rows[:, 4] + (rows[:, 5] % 3 == 0) + draws.normal(0, 0.5, n_rows)
    labels = (signal > 1).astype(np.float32)
    labels[:2] = 0, 1
    rows[draws.uniform(size=rows.shape) < missing] = np.nan
    return rows.astype(np.float32), labels


def stock_model(rows: np.ndarray, labels: np.ndarray, **parameters: object) -> bytes:
    """Return the file of a model that stock XGBoost trained."""
    rounds = parameters.pop("rounds", 5)
    matrix = xgboost.DMatrix(
        rows, label=labels, feature_names=NAMES, feature_types=TYPES, enable_categorical=True
    )
    settings = {"objective": "binary:logistic", "nthread": 1, **parameters}
    return bytes(xgboost.train(settings, matrix, rounds).save_raw("json"))


@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(2, 300),
    missing=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e6]),
    rounds=st.integers(1, 25),
    max_depth=st.integers(1, 7),
    eta=st.sampled_from([0.05, 0.3, 1.0]),
    base_score=st.none() | st.floats(1e-6, 1 - 1e-6),
    max_cat_to_onehot=st.sampled_from([1, 4, 100]),
    min_child_weight=st.sampled_from([0.0, 1.0]),
    reg_lambda=st.sampled_from([1.0, 1e-3]),
    bits=st.sampled_from([1, 6, 24]),
)
@settings(max_examples=25, deadline=None)
def test_contributions_add_up_to_the_margin(
    seed: int,
    n_rows: int,
    missing: float,
    scale: float,
    bits: int,
    base_score: float | None,
    **parameters: float,
) -> None:
    rows, labels = drawn(seed, n_rows, missing, scale)
    if base_score is not None:
        parameters["base_score"] = base_score
    parameters["lambda"] = parameters.pop("reg_lambda")
    content = stock_model(rows, labels, **parameters)
    model = read_model(content, schema=contract_schema(CONTRACT), source="stock")
    scorer = Scorer(replace(model, statistics_bits=bits), CONTRACT, "ab" * 32)
    catalogue = Catalogue.of(CONTRACT)
    other, _ = drawn(seed + 1, 10, 0.3, scale)
    for row in (*rows[:10], *other, np.full(len(NAMES), np.nan, dtype=np.float32)):
        found = scorer.row(row)
        assert found.contributions is not None
        added = found.contributions.astype(np.float64)
        allowed = BOUND * max(1.0, float(np.abs(added).sum()))
        assert abs(added.sum() - found.margin) <= allowed
        groups = group_sums(found.contributions, catalogue)
        assert abs(groups.sum() + added[-1] - found.margin) <= allowed
        assert np.float32(found.margin) == scorer.margins(row[np.newaxis, :], threads=1)[0]


def test_a_row_alone_is_the_row_of_a_batch_whatever_the_base_score() -> None:
    rows, labels = drawn(1, 60, 0.1, 1.0)
    draws = np.random.default_rng(0)
    for base_score in (0.6151543259620667, *draws.uniform(1e-4, 1 - 1e-4, 20).tolist()):
        content = stock_model(rows, labels, rounds=1, base_score=base_score)
        model = read_model(content, schema=contract_schema(CONTRACT), source="stock")
        scorer = Scorer(model, CONTRACT, "ab" * 32)
        alone = np.array([scorer.row(row).margin for row in rows[:4]], dtype=np.float32)
        np.testing.assert_array_equal(alone, scorer.margins(rows[:4], threads=1))


def test_a_contribution_that_is_lost_is_noticed() -> None:
    rows, labels = drawn(1, 300, 0.1, 1.0)
    content = stock_model(rows, labels, rounds=10)
    model = read_model(content, schema=contract_schema(CONTRACT), source="stock")
    found = Scorer(model, CONTRACT, "ab" * 32).row(rows[0])
    assert found.contributions is not None
    kept = np.delete(found.contributions, int(np.abs(found.contributions[:-1]).argmax()))
    assert abs(float(kept.sum()) - found.margin) > 100 * BOUND


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
@pytest.mark.parametrize("booster", ["dart", "gblinear"])
def test_models_that_are_no_plain_sum_of_trees_are_refused(booster: str, tmp_path: Path) -> None:
    rows, labels = drawn(2, 200, 0.0, 1.0)
    rows = np.nan_to_num(rows)
    path = tmp_path / "model.json"
    names, types = (NAMES, TYPES) if booster == "dart" else (NAMES[:4], TYPES[:4])
    matrix = xgboost.DMatrix(
        rows[:, : len(names)],
        label=labels,
        feature_names=names,
        feature_types=types,
        enable_categorical=True,
    )
    parameters = {"objective": "binary:logistic", "booster": booster, "nthread": 1}
    if booster == "dart":
        parameters["rate_drop"] = 0.5
    path.write_bytes(bytes(xgboost.train(parameters, matrix, 6).save_raw("json")))
    # Newer releases of XGBoost write dart's weights into a booster of another name.
    with pytest.raises(StateError, match=f"{booster}|has one that is not known"):
        Scorer.read(path, DataContract(kind="table", features=CONTRACT.features[: len(names)]))
