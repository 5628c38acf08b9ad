"""Every clause of the protocol's page names tests that exist; its constants are the programs'."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

from fraudfed.secure_sum.faults import SumFault
from fraudfed.wire.messages import AbortReason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
_CLAUSE = re.compile(r"^\*\*(\d+)\.(\d+)\*\* (.+?)(?=\n\n|\Z)", re.M | re.S)
CLAUSES = {f"{one[1]}.{one[2]}": " ".join(one[3].split()) for one in _CLAUSE.finditer(PAGE)}
CONSTANTS = re.findall(r"^\| [^|]+ \| `([^`]+)` \| `([\w.]+)` \|$", PAGE, re.M)
SOURCES = "\n".join(
    path.read_text() for name in ("fraudfed", "bank_node") for path in (ROOT / name).rglob("*.py")
)


def names_of_tests() -> set[str]:
    """Return the names of all test functions."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_clauses_are_numbered_without_gaps() -> None:
    numbers = [tuple(map(int, clause.split("."))) for clause in CLAUSES]
    assert len(numbers) > 40
    expected = [(1, 1)]
    for section, _ in numbers[1:]:
        last = expected[-1]
        expected.append((section, last[1] + 1) if section == last[0] else (last[0] + 1, 1))
    assert numbers == expected
    assert len(re.findall(r"^\*\*\d", PAGE, re.M)) == len(numbers)


def test_every_clause_names_its_tests_and_they_exist() -> None:
    existing = names_of_tests()
    for number, text in CLAUSES.items():
        _, separator, named = text.rpartition("Tests: ")
        names = re.findall(r"`(\w+)`", named)
        assert separator, f"clause {number} names no test"
        assert names, f"clause {number} names no test"
        assert set(names) <= existing, f"clause {number}: {set(names) - existing}"


def test_every_test_that_the_page_names_exists() -> None:
    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= names_of_tests()


@pytest.mark.parametrize(("value", "place"), CONSTANTS, ids=[place for _, place in CONSTANTS])
def test_constants_are_those_of_the_programs(value: str, place: str) -> None:
    module, _, name = place.rpartition(".")
    base, _, exponent = value.partition("^")
    if exponent:
        power, _, less = exponent.partition(" - ")
        number = int(base) ** int(power) - int(less or 0)
    else:
        number = int(value)
    assert getattr(importlib.import_module(module), name) == number


def test_there_are_constants() -> None:
    assert len(CONSTANTS) > 10


def test_every_domain_of_the_page_is_one_of_the_programs() -> None:
    raw = set(re.findall(r'"(fraudfed [a-z ]+(?: v\d)?)"', PAGE))
    purposes = set(re.findall(r'derive\([^"()]*(?:\([^()]*\))?[^"()]*"([a-z ]+)"', PAGE))
    kinds = set(re.findall(r'document\("([a-z ]+)"', PAGE))
    assert len(raw) > 8
    assert len(purposes) > 4
    assert len(kinds) > 8
    assert {domain for domain in raw if f'"{domain}' not in SOURCES} == set()
    assert {one for one in purposes | kinds if f'"{one}"' not in SOURCES} == set()


def test_every_document_and_purpose_of_the_programs_is_on_the_page() -> None:
    kinds = set(re.findall(r'(?:_document|canonical)\(\s*"([a-z ]+)"', SOURCES))
    purposes = set(re.findall(r'derive_key\([^"]*?"([a-z ]+)"', SOURCES))
    # What a bank or the aggregator alone computes and no other checks.
    private = {"audit entry", "local digest", "ephemeral private key"}
    for name in (kinds | purposes) - private:
        assert f'"{name}"' in PAGE, name


def test_every_kind_of_fault_is_on_the_page() -> None:
    table = re.findall(r"^\| ([A-Z]+) \| ", PAGE, re.M)
    assert sorted(table) == sorted(SumFault.__members__)


def test_every_reason_is_on_the_page() -> None:
    assert all(f"`{reason.value}`" in CLAUSES["9.1"] for reason in AbortReason)


def test_every_failure_is_on_the_page() -> None:
    failures = json.loads((ROOT / "docs/vectors/v2/failures.json").read_text())
    section = PAGE.partition("## Vectors")[2]
    assert all(f"`{name}`" in section for name in failures["combine"])
    kinds = {one["fault"] for group in failures.values() for one in group.values()}
    # The others are of a bank that calls its own session wrongly: no message shows them.
    assert kinds == set(SumFault.__members__) - {"LAYOUT", "ROSTER", "REUSE"}
