"""docs/bank-node.md holds every command, option and exit code."""

import re
import tomllib
from pathlib import Path

import click
import pytest

from bank_node.approval_rules import ApprovalRules, RiskApproval, SearchApproval, StatisticsApproval
from bank_node.audit.explain import FIELDS
from bank_node.cli import cli
from bank_node.config import CohortRules, RulesFile
from fraudfed.console import EXIT_INTERRUPTED, EXIT_TERMINATED, commands_of
from fraudfed.errors import error_classes

DOCUMENT = (Path(__file__).parents[2] / "docs" / "bank-node.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S)
    assert found is not None, f"docs/bank-node.md has no section {title!r}"
    return found.group(1)


@pytest.mark.parametrize("name", [None, *commands_of(cli)])
def test_every_option_is_documented_and_no_other(name: str | None) -> None:
    command: click.Command = cli if name is None else commands_of(cli)[name]
    text = section("Options of every command" if name is None else name)
    options = {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    documented = set(re.findall(r"^\| .*?(?=\|)", text, re.M))
    named = {option for cell in documented for option in re.findall(r"`(--[a-z0-9-]+)", cell)} - {
        "--help"
    }
    assert named == options


def test_every_exit_code_is_documented() -> None:
    codes = {cls.exit_code for cls in error_classes().values()}
    codes |= {0, EXIT_INTERRUPTED, EXIT_TERMINATED}
    rows = re.findall(r"^\| ([0-9, ]+) \|", section("Exit codes"), re.M)
    assert {int(code) for row in rows for code in row.split(",")} == codes


def test_every_option_has_a_help_text() -> None:
    for command in (cli, *commands_of(cli).values()):
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_every_rule_of_the_bank_is_documented() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", section("Rules of the bank"), re.M))
    assert rows == set(CohortRules.model_fields)


def test_every_entry_of_approval_is_documented() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", section("Approval without a person"), re.M))
    assert rows == set(ApprovalRules.model_fields)
    tables = (RiskApproval, StatisticsApproval, SearchApproval)
    for name in (name for table in tables for name in table.model_fields):
        assert f"`{name}`" in section("Approval without a person")


def test_the_example_of_approval_is_a_table_that_is_read() -> None:
    example = re.search(r"```toml\n(.*?)```", section("Approval without a person"), re.S)
    assert example is not None
    found = RulesFile.model_validate(tomllib.loads(example[1])).approval
    names = ("parameters", "risk", "statistics", "search", "monitor", "privacy")
    tables = {f"approval.{name}" for name in names}
    assert set(found.to_tables()) == {"approval", *tables}


def test_every_kind_of_request_is_documented() -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", section("What is sent"), re.M))
    assert rows == set(FIELDS)
