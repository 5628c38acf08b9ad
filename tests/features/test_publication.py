"""What is published of the features: whole, and the same bytes wherever it is written."""

import json

from click.testing import CliRunner

from fraudfed.catalogue.recipe import FEATURES, SHARED_FEATURES
from fraudfed.cli import cli
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.publication import features_file
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, LabelHorizon, parse


def test_the_features_of_a_run_of_transactions() -> None:
    contract = DataContract(
        kind="transactions",
        recipe=RECIPE,
        features=contract_features()[4:7],
        label_horizon_days=LabelHorizon(days=7),
    )
    text = features_file(contract)
    published = json.loads(text)
    assert published["recipe"] == RECIPE
    assert published["label"] == "is_fraud"
    assert published["label_horizon_days"] == {"days": 7, "by_channel": {}}
    assert published["features"] == [
        {
            "name": feature.name,
            "type": feature.kind.value,
            "unit": feature.unit,
            "definition": feature.description,
            "categories": None if feature.categories is None else list(feature.categories),
        }
        for feature in FEATURES[4:7]
    ]
    # A bank that received the contract writes the same bytes.
    received = parse(DataContract, contract.model_dump_json(), source="test")
    assert features_file(received) == text


def test_the_features_of_a_plain_table_are_the_operators() -> None:
    spec = FeatureSpec(
        name="amount", type=FeatureType.CATEGORICAL, categories=("lo", "hi"), description="size"
    )
    published = json.loads(features_file(DataContract(kind="table", features=(spec,))))
    assert published["recipe"] is None
    assert published["features"] == [
        {
            "name": "amount",
            "type": "categorical",
            "unit": None,
            "definition": "size",
            "categories": ["lo", "hi"],
        }
    ]


def test_the_command_prints_the_recipe() -> None:
    ended = CliRunner().invoke(cli, ["features", "--json"])
    assert ended.exit_code == 0
    published = json.loads(ended.output)
    assert published["recipe"] == RECIPE
    assert [feature["name"] for feature in published["features"]] == [
        feature.name for feature in FEATURES + SHARED_FEATURES
    ]
    assert all(feature["unit"] for feature in published["features"])
    text = CliRunner().invoke(cli, ["features"]).output
    assert text.startswith(f"recipe {RECIPE}, {len(FEATURES + SHARED_FEATURES)} features\n")
    assert "amount [minor currency units]: amount of the payment\n" in text
    assert "  codes: 0 pos, 1 ecommerce, 2 transfer, 3 atm\n" in text
