"""The recipe is consistent, publishable and documented."""

from pathlib import Path

import pytest

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import (
    FEATURES,
    RECIPE,
    FeatureDefinition,
)
from fraudfed.catalogue.recipes import contract_features, find_recipe
from fraudfed.features.table import feature_schema
from fraudfed.payments.columns import COLUMNS, LABEL_COLUMNS, Column
from fraudfed.wire.messages import DataContract, FeatureType, parse

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_every_feature_is_documented_as_it_is_defined(feature: FeatureDefinition) -> None:
    assert f"| `{feature.name}` | {feature.unit} | {feature.description}." in PAGE
    for code, category in enumerate(feature.categories or ()):
        assert f"{code} `{category}`" in PAGE


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_raw_column_is_documented(column: Column) -> None:
    (line,) = [
        line for line in PAGE.splitlines() if line.startswith(f"| `{column.name}` | {column.kind}")
    ]
    _, _, _, nullable, absent, description, _, _ = (cell.strip() for cell in line.split("|"))
    assert description == column.description
    assert nullable == ("yes" if column.nullable else "no")
    labels = "for scoring" if column.name in LABEL_COLUMNS else "no"
    assert absent == ("yes" if column.optional else labels)
    assert all(f"`{value}`" in line for value in column.values or ())


def test_the_page_names_the_recipe_and_no_other_feature() -> None:
    assert f"`{RECIPE}`" in PAGE
    rows = PAGE.split("## The features")[1].splitlines()
    documented = [row.split("`")[1] for row in rows if row.startswith("| `")]
    assert documented == [feature.name for feature in FEATURES]


def test_contract_round_trip() -> None:
    contract = DataContract(kind="transactions", recipe=RECIPE, features=contract_features())
    assert parse(DataContract, contract.model_dump_json(), source="test") == contract
    assert tuple(spec.name for spec in contract.features) == feature_schema().names
    for spec, n_categories in zip(contract.features, feature_schema().n_categories, strict=True):
        assert (spec.type is FeatureType.CATEGORICAL) == (n_categories > 0)
        assert len(spec.categories or ()) == n_categories
        assert spec.description.endswith("]")


def test_fraud_labels_are_no_feature() -> None:
    names = {feature.name for feature in FEATURES}
    assert len(names) == len(FEATURES)
    assert names.isdisjoint({"is_fraud", "fraud_kind", "label_time", "transaction_id"})


def test_the_page_of_incoming_payments_is_the_inbound_recipe() -> None:
    page = (Path(__file__).parents[2] / "docs" / "inbound.md").read_text(encoding="utf-8")
    recipe = find_recipe(INBOUND_RECIPE)
    assert f"`{recipe.name}`" in page
    rows = [row for row in page.split("## The features")[1].splitlines() if row.startswith("| `")]
    assert rows == [
        f"| `{feature.name}` | {feature.unit} | {feature.description}. |"
        for feature in recipe.definitions(shared=True)
    ]
    used = {feature.name for feature in recipe.definitions(shared=True)}
    assert used.isdisjoint({"is_fraud", "label_time", "transaction_id"})
