"""docs/shared-risk.md says what the code counts."""

import re
from pathlib import Path

import pytest

from fraudfed.catalogue.recipe import RISK_ENTITIES, SHARED_FEATURES, FeatureDefinition
from fraudfed.features.shared_risk.tables import MAX_DAY_TOTAL
from fraudfed.wire.messages import RiskEntity, RiskSpec

PAGE = (Path(__file__).parents[2] / "docs" / "shared-risk.md").read_text(encoding="utf-8")


def general(text: str) -> str:
    """Put E for the kind of entity and N for the days, as the page does."""
    text = re.sub(rf"\b({'|'.join(RISK_ENTITIES)})\b", "E", text)
    text = re.sub(rf"shared_({'|'.join(RISK_ENTITIES)})_", "shared_E_", text)
    return re.sub(r"_\d+d\b", "_Nd", re.sub(r"\b\d+ UTC days", "N UTC days", text))


@pytest.mark.parametrize("feature", SHARED_FEATURES, ids=lambda feature: feature.name)
def test_every_feature_is_documented_as_it_is_defined(feature: FeatureDefinition) -> None:
    row = f"| `{general(feature.name)}` | {feature.unit} | {general(feature.description)} |"
    assert row in PAGE


def test_every_field_of_a_risk_run_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+) \|([^|]*)\|", PAGE.split("## A run")[1], re.MULTILINE)
    documented = {
        name: cell
        for names, cell in rows
        for name in re.findall(r"`([a-z_]+)`", names)
        if name in RiskSpec.model_fields
    }
    assert documented.keys() == RiskSpec.model_fields.keys() - {"protocol_version"}
    for name, field in RiskSpec.model_fields.items():
        if isinstance(field.default, int) and name in documented:
            assert str(field.default) in documented[name]


def test_kinds_of_entities_are_those_of_the_recipe() -> None:
    assert tuple(RiskEntity) == RISK_ENTITIES
    assert MAX_DAY_TOTAL == 2**40
    assert "2^40" in PAGE
