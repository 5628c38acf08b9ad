"""``docs/data.md`` says what the code says: tables, options, kinds of fraud, plots, commands."""

import re
from pathlib import Path

import click
import pytest

from data_gen.cli import cli
from data_gen.credit.plots import CREDIT_PLOT_NAMES
from data_gen.credit.schema import PROTECTED
from data_gen.describing.plots import PLOT_NAMES
from data_gen.events import KIND_NAMES
from fraudfed.errors import ConfigurationError, DataError, StateError
from fraudfed.lab.publish.data_tables import PAGE, TABLES, renewed

TEXT = PAGE.read_text(encoding="utf-8")
PLOTS = Path(__file__).parents[2] / "docs" / "data"


def test_the_tables_are_those_of_the_code() -> None:
    # If this fails: python -m fraudfed.lab.publish.data_tables
    assert renewed(TEXT) == TEXT


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_was_changed_by_hand_is_noticed(name: str) -> None:
    begin = f"<!-- data_tables: {name} -->\n"
    assert renewed(TEXT.replace(begin, begin + "x")) == TEXT
    with pytest.raises(ValueError, match="is missing"):
        renewed(TEXT.replace(begin, ""))


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_and_option_is_documented(name: str) -> None:
    assert f"`data-gen {name}" in TEXT or f"data-gen {name} " in TEXT
    options = [p.opts[0] for p in cli.commands[name].params if isinstance(p, click.Option)]
    assert [option for option in options if f"`{option}" not in TEXT] == []


def test_every_kind_of_fraud_has_its_time_course() -> None:
    assert re.findall(r"^\| `(\w+)` \| \D", TEXT.partition("time course")[2], re.M)[
        : len(KIND_NAMES)
    ] == list(KIND_NAMES)


def test_every_plot_is_there_shown_and_small() -> None:
    names = {*PLOT_NAMES, *CREDIT_PLOT_NAMES}
    assert {path.stem for path in PLOTS.iterdir()} == names
    assert set(re.findall(r"\(data/(\w+)\.svg\)", TEXT)) == names
    for path in PLOTS.iterdir():
        assert path.stat().st_size < 150_000


def test_every_exit_code_is_documented() -> None:
    line = re.search(r"^Exit codes: (.*?)\n\n", TEXT, re.M | re.DOTALL)
    assert line is not None
    for error in (ConfigurationError, DataError, StateError):
        assert re.search(rf"\b{error.exit_code}\b", line[1])


def test_credit_is_marked_as_a_high_risk_use() -> None:
    section = TEXT.partition("## Credit applications")[2]
    assert "high-risk use under Annex III, point 5(b)" in section
    assert all(f"`{name}`" in section for name in PROTECTED)
