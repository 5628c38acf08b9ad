"""``bank-node features``: what is written is what the model is trained on and scored with."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bank_node.data.contract import load_scoring_rows
from bank_node.serving.feature_export import export_features
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.catalogue.recipe import FEATURES
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.features import RECIPE, contract_features
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, LabelHorizon

CONTRACT = DataContract(
    kind="transactions",
    features=contract_features(),
    recipe=RECIPE,
    label_horizon_days=LabelHorizon(days=7),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "transactions.parquet"
    _, rows = next(iter(generate(WorldConfig(seed=3, banks=3, customers=60, days=40))))
    # Labels of the last week are not known yet.
    late = rows["event_time"] > rows["event_time"].max() - 7 * 86_400
    rows = rows.astype({"is_fraud": "Int64", "label_time": "Int64"})
    rows.loc[late, ["is_fraud", "label_time"]] = pd.NA
    rows.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_written_features_are_those_that_are_scored(
    file: Path, suffix: str, tmp_path: Path
) -> None:
    out = tmp_path / f"features.{suffix}"
    assert export_features(file, out, contract=CONTRACT) == len(pd.read_parquet(file))
    found = pd.read_parquet(out) if suffix == "parquet" else pd.read_csv(out)
    assert list(found.columns) == [
        *("transaction_id", "event_time", "label_time", "is_fraud"),
        *(feature.name for feature in FEATURES),
    ]
    raw = pd.read_parquet(file)
    for name in ("transaction_id", "event_time"):
        assert found[name].tolist() == raw[name].tolist()
    for name in ("is_fraud", "label_time"):
        assert found[name].isna().tolist() == raw[name].isna().tolist()
        assert found[name].dropna().tolist() == raw[name].dropna().tolist()
    assert 0 < found["is_fraud"].isna().sum() < len(found)
    scored = load_scoring_rows(file, CONTRACT).features
    for index, feature in enumerate(FEATURES):
        if feature.categories is None:
            written = found[feature.name].to_numpy(dtype=np.float32)
        else:
            codes = pd.Categorical(found[feature.name], categories=feature.categories).codes
            written = np.where(codes < 0, np.nan, codes.astype(np.float64)).astype(np.float32)
        np.testing.assert_array_equal(written, scored[:, index], err_msg=feature.name)


def test_only_the_contracts_features_are_written(file: Path, tmp_path: Path) -> None:
    few = CONTRACT.model_copy(update={"features": contract_features()[3:5]})
    export_features(file, tmp_path / "few.parquet", contract=few)
    names = list(pd.read_parquet(tmp_path / "few.parquet").columns)
    assert names[4:] == [spec.name for spec in contract_features()[3:5]]


def test_others_cannot_read_it(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.parquet"
    export_features(file, out, contract=CONTRACT)
    assert out.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected \.csv or \.parquet"):
        export_features(file, tmp_path / "features.txt", contract=CONTRACT)
    with pytest.raises(StateError, match="expected a file in an existing directory"):
        export_features(file, tmp_path / "none" / "features.csv", contract=CONTRACT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("with_ids", [False, True])
def test_a_plain_table_is_written_as_the_model_takes_it(
    suffix: str, with_ids: bool, tmp_path: Path
) -> None:
    contract = DataContract(
        kind="table",
        features=(
            FeatureSpec(name="x"),
            FeatureSpec(name="shop", type=FeatureType.CATEGORICAL, categories=("b", "NA", "a")),
        ),
    )
    source = pd.DataFrame(
        {"shop": ["a", "", "NA", "a"], "is_vip": [1, 0, 0, 1], "x": [2.5, None, 0.1, -1]}
    )
    if with_ids:
        source["transaction_id"] = ["k", "l", "m", "n"]
    source.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / f"features.{suffix}"
    assert export_features(tmp_path / "rows.csv", out, contract=contract) == 4
    if suffix == "csv":
        found = pd.read_csv(out, keep_default_na=False, na_values=[""])
    else:
        found = pd.read_parquet(out)
        assert list(found["shop"].cat.categories) == ["b", "NA", "a"]
    assert list(found.columns) == [*(["transaction_id"] if with_ids else []), "x", "shop"]
    assert found["shop"].astype(object).where(found["shop"].notna(), None).tolist() == [
        *("a", None, "NA", "a")
    ]
    np.testing.assert_array_equal(
        found["x"].to_numpy(dtype=np.float32), np.array([2.5, np.nan, 0.1, -1], dtype=np.float32)
    )


def test_categories_that_do_not_occur_are_written_too(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.parquet"
    export_features(file, out, contract=CONTRACT)
    found = pd.read_parquet(out)
    for feature in FEATURES:
        if feature.categories is not None:
            assert tuple(found[feature.name].cat.categories) == feature.categories
