"""All decision records have one form, and their index lists each of them."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
INDEX = (FOLDER / "README.md").read_text()
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_the_form(record: Path) -> None:
    text = record.read_text()
    number = int(record.name[:4])
    title, status, _ = text.split("\n\n", 2)
    assert re.fullmatch(rf"# {number}\. [A-Z][^\n]+", title)
    assert re.fullmatch(
        r"Date: 20\d\d-\d\d-\d\d\. Status: (accepted|accepted in part|replaced)\..*", status
    )
    sections = re.findall(r"^## (.+)$", text, re.M)
    assert sections[:2] == ["Context", "Decision"]
    assert sections[-1] == "Consequences"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_is_listed_under_its_title(record: Path) -> None:
    title = record.read_text().partition("\n")[0].removeprefix("# ")
    assert f"* [{title}]({record.name})" in INDEX


def test_numbers_are_used_once() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert numbers == sorted(set(numbers))
