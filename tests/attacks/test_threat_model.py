"""The threat model is what the tests attack: every test it names exists, every attack is named."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THREAT_MODEL = ROOT / "docs" / "threat-model.md"
SECURITY = ROOT / "SECURITY.md"
_NAMED = re.compile(r"`(test_\w*[a-z0-9])`")


@cache
def names_below(directory: Path) -> set[str]:
    """Return the names of all test functions below a directory."""
    return {
        node.name
        for path in directory.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def claims() -> list[list[str]]:
    """Return the cells of every row of the tables of claims."""
    section = THREAT_MODEL.read_text().partition("## Claims")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].strip() != "claim"]


def test_every_named_test_exists() -> None:
    named = set(_NAMED.findall(THREAT_MODEL.read_text()))
    assert len(named) > 30
    assert sorted(named - names_below(ROOT / "tests")) == []


def test_every_claim_names_an_attack() -> None:
    assert len(claims()) > 20
    for claim, attacks, *_ in claims():
        assert _NAMED.search(attacks), f"no test attacks: {claim}"


def test_every_control_is_named() -> None:
    """A control shows that an attack works; without its claim nobody knows against what."""
    controls = {name for name in names_below(ROOT / "tests") if name.startswith("test_control_")}
    assert controls
    assert sorted(controls - set(_NAMED.findall(THREAT_MODEL.read_text()))) == []


@pytest.mark.parametrize("path", [THREAT_MODEL, SECURITY], ids=lambda path: path.name)
def test_every_linked_file_exists(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
    assert targets
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_threat_model_speaks_of_every_party_and_asset() -> None:
    text = THREAT_MODEL.read_text()
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings == [
        "Assets",
        "Parties",
        "Assumptions",
        "What each may learn",
        "Claims, and the tests that attack them",
        "What shared risk tells the members",
        "What pooled statistics tell the members",
        "What a search tells the members",
        "What judging tells the members",
        "What monitoring tells the members",
        "What a newcomer learns",
        "What the scoring service tells its callers",
        "What is not protected",
    ]
