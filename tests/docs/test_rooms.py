"""The architecture page and CONTRIBUTING name every room of the programs and of the library."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: No folder above this many modules, beside its ``__init__``, and no file above so many lines.
MOST_MODULES = 18
MOST_LINES = 600

PROGRAMS = ("aggregator", "bank_node")


def rooms_of(package: str) -> list[str]:
    return sorted(path.parent.name for path in (ROOT / package).glob("*/__init__.py"))


def section(page: str, start: str, end: str) -> str:
    text = (ROOT / page).read_text()
    return text[text.index(start) : text.index(end, text.index(start))]


@pytest.mark.parametrize("program", PROGRAMS)
def test_both_pages_name_the_rooms_of_a_program(program: str) -> None:
    tree = section("docs/architecture.md", "### The rooms of the programs", "## The way of")
    banks, operators = tree.split("\n```text\naggregator\n")
    lines = (operators if program == "aggregator" else banks).splitlines()
    named = {line.split()[0] for line in lines if "  " in line.strip()}
    assert named == set(rooms_of(program))

    where = section("CONTRIBUTING.md", "## Where a line belongs", "## How to add")
    item = next(part for part in where.split("\n* ") if f"(`{program}`)" in part)
    assert [room for room in rooms_of(program) if f"`{room}`" not in item] == []


def test_both_pages_name_the_rooms_of_the_library() -> None:
    table = section("docs/architecture.md", "Four programs", "### The rooms")
    where = section("CONTRIBUTING.md", "## Where a line belongs", "## How to add")
    rooms = rooms_of("fraudfed")
    assert [room for room in rooms if f"`fraudfed.{room}`" not in table] == []
    assert [room for room in rooms if f"`fraudfed/{room}" not in where] == []


@pytest.mark.parametrize("program", [*PROGRAMS, "data_gen", "fraudfed"])
def test_no_folder_and_no_file_is_too_large_to_survey(program: str) -> None:
    files = sorted((ROOT / program).rglob("*.py"))
    folders = {path.parent for path in files}
    full = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if (count := len([p for p in folder.glob("*.py") if p.name != "__init__.py"]))
        > MOST_MODULES
    }
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if (count := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert (full, long) == ({}, {})
