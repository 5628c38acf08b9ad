"""One scorer for batches and for single payments, against XGBoost itself."""

from pathlib import Path

import numpy as np
import pytest
from examples.boosted import SCHEMA, booster_of, rows, trained, xgboost_margins

from bank_node.serving.bundle import Bundle
from bank_node.serving.scorer import Scorer
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType


def contract(names: tuple[str, ...] = SCHEMA.names) -> DataContract:
    return DataContract(
        kind="table",
        label="label",
        features=tuple(
            FeatureSpec(name=name, type=FeatureType.CATEGORICAL, categories=categories)
            if categories
            else FeatureSpec(name=name)
            for name, categories in zip(SCHEMA.names, SCHEMA.categories, strict=True)
            if name in names
        ),
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = rows(1, 3000)
    path = tmp_path_factory.mktemp("model") / "model.json"
    path.write_bytes(trained(SCHEMA, found.features, found.labels).to_json())
    return path


@pytest.fixture(scope="module")
def scorer(path: Path) -> Scorer:
    return Scorer.read(path, contract())


def test_a_row_alone_has_the_margin_of_its_batch_and_of_xgboost(scorer: Scorer, path: Path) -> None:
    features = rows(2, 400).features
    expected = xgboost_margins(path.read_bytes(), SCHEMA, features)
    np.testing.assert_array_equal(scorer.margins(features), expected)
    alone = [scorer.row(row, contributions=False) for row in features]
    np.testing.assert_array_equal(np.array([one.margin for one in alone]), expected)
    np.testing.assert_array_equal(np.array([one.score for one in alone]), scorer.scores(features))
    for threads in (1, 3):
        np.testing.assert_array_equal(scorer.margins(features, threads=threads), expected)


def test_contributions_add_up_to_the_margin(scorer: Scorer, path: Path) -> None:
    booster = booster_of(path.read_bytes())
    assert booster.num_boosted_rounds() == len(scorer.model.trees)
    for row in rows(3, 200).features:
        found = scorer.row(row)
        assert found.contributions is not None
        assert found.contributions.sum(dtype=np.float64) == pytest.approx(found.margin, abs=1e-5)
        np.testing.assert_array_equal(scorer.contributions(row), found.contributions)


def test_a_batch_without_rows_has_no_margins(scorer: Scorer) -> None:
    assert scorer.margins(np.empty((0, 4), np.float32)).size == 0


def test_a_model_of_other_features_is_refused(path: Path) -> None:
    with pytest.raises(StateError, match="is no model that can be used"):
        Scorer.read(path, contract(SCHEMA.names[:3]))
    with pytest.raises(StateError, match="no such model"):
        Scorer.read(path.with_name("none.json"), contract())


def test_a_bundle_takes_a_models_columns_and_refuses_those_that_it_does_not_have(
    scorer: Scorer,
) -> None:
    bundle = Bundle(scorer, ("hour", "other", *SCHEMA.names[:2], "shared_rate"))
    row = np.arange(5, dtype=np.float32)
    assert bundle.row_for(scorer, row).tolist() == [2, 3, 0, 4]
    with pytest.raises(ConfigurationError, match="needs feature 'shared_rate'"):
        Bundle(scorer, SCHEMA.names[:3])
    with pytest.raises(ConfigurationError, match="of shared risk, expected one without"):
        Bundle(scorer, SCHEMA.names, second=scorer)
