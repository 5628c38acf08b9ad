"""Every command, option and exit code of ``fraudfed`` is documented, and nothing else is."""

import re
from pathlib import Path

import click
import pytest

from fraudfed.cli import cli
from fraudfed.console import EXIT_INTERRUPTED, EXIT_TERMINATED
from fraudfed.errors import error_classes

PAGE = (Path(__file__).parents[2] / "docs" / "fraudfed.md").read_text()


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix}{name} ")
        else:
            found[f"{prefix}{name}"] = command
    return found


def section(name: str) -> str:
    match = re.search(rf"^## {re.escape(name)}$(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert match is not None, f"docs/fraudfed.md has no section {name!r}"
    return match[1]


@pytest.mark.parametrize("name", commands(cli))
def test_every_option_is_documented_in_order(name: str) -> None:
    command = commands(cli)[name]
    options = [p.opts[0] for p in command.params if isinstance(p, click.Option)]
    assert re.findall(r"^\| `(--[a-z-]+)` \|", section(name), re.MULTILINE) == options


def test_every_command_is_listed_on_top() -> None:
    for name in commands(cli):
        assert f"fraudfed {name}" in PAGE.split("## ")[0]


def test_every_exit_code_is_documented() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes"), re.M)}
    codes = {cls.exit_code for cls in error_classes().values()}
    assert listed == codes | {0, EXIT_INTERRUPTED, EXIT_TERMINATED}
