"""Credit applications: the table that is promised, and a reason to share."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from bank_node.data.contract import load_scoring_rows, load_training_rows
from data_gen.credit.applications import instalment
from data_gen.credit.bureau import earlier_within
from data_gen.credit.config import CreditConfig
from data_gen.credit.outcomes import default_probability
from data_gen.credit.output import write_credit
from data_gen.credit.schema import CREDIT_SCHEMA, FEATURES, LABEL, PROTECTED
from data_gen.credit.table import CreditWorld, make_credit_world
from data_gen.settings.config import DAY_SECONDS
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import DataContract

CONFIG = CreditConfig()


@pytest.fixture(scope="module")
def world() -> CreditWorld:
    return make_credit_world(CONFIG)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("credit") / "set"
    write_credit(CONFIG, out, formats=("parquet", "csv"), preset="credit")
    return out


@pytest.fixture(scope="module")
def manifest(written: Path) -> dict[str, Any]:
    return dict(json.loads((written / "manifest.json").read_text()))


@pytest.fixture(scope="module")
def table(written: Path) -> pd.DataFrame:
    return pd.read_parquet(written / "all_banks.parquet")


def test_same_seed_same_bytes(written: Path, tmp_path: Path) -> None:
    write_credit(CONFIG, tmp_path / "again", formats=("parquet", "csv"), preset="credit")
    names = sorted(p.relative_to(written) for p in written.rglob("*.*"))
    assert len(names) == 2 * CONFIG.banks + 3
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def test_the_table_of_all_banks_is_that_of_each(
    written: Path, manifest: dict[str, Any], table: pd.DataFrame
) -> None:
    parts = [
        pd.read_parquet(written / bank["name"] / "applications.parquet").assign(bank=bank["name"])
        for bank in manifest["banks"]
    ]
    together = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(together[table.columns.tolist()], table)
    assert len(table) == manifest["rows"]
    for bank, part in zip(manifest["banks"], parts, strict=True):
        assert (bank["rows"], bank["default_rows"]) == (len(part), part[LABEL].sum())
    sizes = [bank["rows"] for bank in manifest["banks"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[-1]


def test_the_manifest_says_what_is_a_feature_and_what_is_not(manifest: dict[str, Any]) -> None:
    features = [feature["name"] for feature in manifest["contract"]["features"]]
    assert features == list(FEATURES)
    assert set(features) | set(manifest["not_features"]) | {LABEL} == set(CREDIT_SCHEMA.arrow.names)
    assert not set(features) & {*manifest["not_features"], LABEL}
    assert set(manifest["protected"]) == set(PROTECTED) <= set(manifest["not_features"])
    assert "Annex III, point 5(b)" in manifest["use"]
    assert manifest["license"] == "CC0-1.0"


def test_a_bank_node_reads_each_banks_table_by_the_manifests_contract(
    written: Path, manifest: dict[str, Any]
) -> None:
    contract = DataContract.model_validate(manifest["contract"])
    for suffix in ("parquet", "csv"):
        for bank in manifest["banks"][-2:]:
            path = written / bank["name"] / f"applications.{suffix}"
            rows = load_training_rows(path, contract)
            assert rows.table.n_rows == bank["rows"]
            assert rows.table.labels.sum() == bank["default_rows"]
            assert rows.warnings == ()
            assert load_scoring_rows(path, contract).features.shape == rows.table.features.shape


def test_defaults_are_as_frequent_as_asked(world: CreditWorld) -> None:
    chance = default_probability(world.config, world.people, world.applications)
    assert chance.mean() == pytest.approx(CONFIG.default_rate, abs=1e-6)
    assert ((chance > 0) & (chance < 1)).all()
    assert world.outcomes.is_default.mean() == pytest.approx(CONFIG.default_rate, rel=0.1)


def test_labels_are_known_at_the_default_or_at_the_end_of_the_window(table: pd.DataFrame) -> None:
    days = (table["label_time"] - table["application_time"]) / DAY_SECONDS
    is_default = table[LABEL] == 1
    assert (days[~is_default] == CONFIG.performance_days).all()
    assert days[is_default].between(60, CONFIG.performance_days).all()


def test_values_are_missing_where_the_schema_says(table: pd.DataFrame) -> None:
    assert (table["housing"].isna() == (table["channel"] == "broker")).all()
    without_job = table["employment"].isin(["unemployed", "student", "retired"])
    assert (table["job_months"].isna() == without_job).all()
    assert (table["bureau_score"].isna() == table["bureau_enquiries_90d"].isna()).all()
    thin = table["bureau_score"].isna()
    assert 0.05 < thin.mean() < 0.3
    young = table["age_band"].isin(["18-24", "25-34"])
    assert thin[young].mean() > 1.3 * thin[~young].mean()


def test_age_and_sex_change_no_chance_of_a_default(world: CreditWorld) -> None:
    people = world.people
    others = dataclasses.replace(people, sex=1 - people.sex, age=people.age[::-1])
    chances = [
        default_probability(world.config, someone, world.applications)
        for someone in (people, others)
    ]
    assert (chances[0] == chances[1]).all()


def test_those_in_distress_apply_at_several_banks_within_days(world: CreditWorld) -> None:
    asked = world.applications
    frame = pd.DataFrame(
        {"search": asked.search, "bank": asked.bank, "time": asked.time, "who": asked.person}
    )
    searches = frame.groupby("search").agg(
        banks=("bank", "nunique"),
        rows=("bank", "size"),
        span=("time", np.ptp),
        who=("who", "first"),
    )
    # Nobody asks one bank twice for one loan.
    assert (searches["banks"] == searches["rows"]).all()
    distress = pd.Series(asked.in_distress).groupby(asked.search).first()
    assert (searches.loc[distress, "span"] <= 3 * DAY_SECONDS).all()
    assert (searches["span"] <= 10 * DAY_SECONDS).all()
    assert searches.loc[distress, "banks"].mean() > 2.5
    assert 1.05 < searches.loc[~distress, "banks"].mean() < 1.5
    rate = pd.Series(world.outcomes.is_default).groupby(asked.in_distress).mean()
    assert rate[True] > 2 * rate[False]


def test_one_person_has_one_identifier_at_all_banks(table: pd.DataFrame) -> None:
    banks = table.groupby("applicant_id")["bank"].nunique()
    assert (banks > 1).mean() > 0.15
    constant = table.groupby("applicant_id")[["sex", "income_minor", "employment"]].nunique()
    assert (constant == 1).all(axis=None)


def test_no_column_alone_decides(table: pd.DataFrame) -> None:
    for name in FEATURES:
        values = table[name]
        if values.dtype == object or str(values.dtype) in ("str", "string"):
            values = table.groupby(values.fillna("none"))[LABEL].transform("mean")
        auc = roc_auc_score(table[LABEL], values.fillna(-1))
        assert 0.3 < auc < 0.7, name


def _fit(rows: pd.DataFrame, features: pd.DataFrame) -> Callable[[pd.Index], Any]:
    matrix = xgboost.DMatrix(features.loc[rows.index], rows[LABEL], enable_categorical=True)
    parameters = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.15, "nthread": 1}
    booster = xgboost.train(parameters, matrix, 40)
    return lambda index: booster.predict(
        xgboost.DMatrix(features.loc[index], enable_categorical=True)
    )


def test_sharing_pays(manifest: dict[str, Any], table: pd.DataFrame) -> None:
    """Own models, the model of all rows, and that model with applications at all banks counted."""
    features = table[list(FEATURES)].copy()
    for feature in manifest["contract"]["features"]:
        if feature["type"] == "categorical":
            features[feature["name"]] = pd.Categorical(
                features[feature["name"]], categories=feature["categories"]
            )
    person = table["applicant_id"].astype("category").cat.codes.to_numpy().astype(np.int64)
    everywhere = earlier_within(
        person,
        table["application_time"].to_numpy(),
        counted=np.ones(len(table), dtype=np.bool_),
        days=10,
    )
    counted = features.assign(everywhere_10d=everywhere)
    train = table[table["label_time"] <= manifest["split_time"]]
    test = table[table["application_time"] >= manifest["split_time"]]
    pooled, with_counts = _fit(train, features), _fit(train, counted)
    own, joint, shared = [], [], []
    for bank in manifest["banks"]:
        rows = test[test["bank"] == bank["name"]]
        alone = _fit(train[train["bank"] == bank["name"]], features)
        for scores, model in ((own, alone), (joint, pooled), (shared, with_counts)):
            scores.append(average_precision_score(rows[LABEL], model(rows.index)))
    prevalence = test[LABEL].mean()
    assert prevalence < np.mean(own) < np.mean(joint) - 0.01
    assert np.mean(joint) < np.mean(shared)
    assert np.mean(shared) < 0.6


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.booleans()), max_size=30),
    days=st.integers(1, 3),
)
def test_earlier_rows_are_counted_as_by_hand(rows: list[tuple[int, int, bool]], days: int) -> None:
    # Time in steps of a fifth of a day, so that windows end on rows.
    step = DAY_SECONDS // 5
    group = np.array([row[0] for row in rows], dtype=np.int64)
    time = np.array([row[1] * step for row in rows], dtype=np.int64)
    counted = np.array([row[2] for row in rows], dtype=np.bool_)
    expected = [
        sum(
            g == group[i] and time[i] - days * DAY_SECONDS <= t < time[i] and c
            for g, t, c in zip(group, time, counted, strict=True)
        )
        for i in range(len(rows))
    ]
    assert earlier_within(group, time, counted=counted, days=days).tolist() == expected


def test_an_annuity_pays_the_loan_back() -> None:
    payment = float(instalment(np.array([100_000.0]), np.array([24]))[0])
    left = 100_000.0
    for _ in range(24):
        left = left * 1.006 - payment
    assert left == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("banks", 0),
        ("customers", 499),
        ("days", 179),
        ("start_time", 7),
        ("performance_days", 30),
        ("default_rate", 0.0),
        ("size_exponent", 4.0),
        ("purpose_spread", -1.0),
        ("shopping_share", 1.5),
        ("distress_share", float("nan")),
        ("bureau_coverage", -0.1),
        ("thin_file_share", 2.0),
        ("test_share", 0.0),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"{name}: got"):
        CreditConfig(**settings)
