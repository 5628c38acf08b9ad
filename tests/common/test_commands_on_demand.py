"""A program imports the packages of the command that is started, and not those of the others."""

import gc
import subprocess
import sys

import click
import pytest

from fraudfed.console import CommandsOnDemand
from fraudfed.wire.messages import RunKind

PROGRAMS = ("aggregator", "bank_node", "data_gen", "fraudfed")

#: What takes long to import.
HEAVY = ("numpy", "pandas", "pyarrow", "xgboost", "sqlalchemy", "flask", "matplotlib")


def test_a_command_is_imported_when_it_is_asked_for() -> None:
    commands = CommandsOnDemand({"sum": "no_such_module:sum", "demo": "data_gen.cli:cli"})
    assert list(commands) == ["sum", "demo"]
    assert isinstance(commands["demo"], click.Group)
    assert commands["demo"] is commands["demo"]
    assert commands.get("unknown") is None
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        commands["sum"]


def test_garbage_is_collected_again_after_an_import() -> None:
    commands = CommandsOnDemand({"absent": "no_such_module:sum", "demo": "data_gen.cli:cli"})
    assert gc.isenabled()
    assert commands["demo"]
    with pytest.raises(ModuleNotFoundError):
        commands["absent"]
    assert gc.isenabled()


def test_nothing_is_collected_during_an_import(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "looks_at_gc.py").write_text("import gc\nis_enabled = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert CommandsOnDemand({"look": "looks_at_gc:is_enabled"})["look"] is False


@pytest.mark.parametrize("kind", sorted(set(RunKind) - {RunKind.MONITOR}))
def test_a_bank_takes_part_without_what_scoring_needs(kind: RunKind) -> None:
    """Of all kinds of runs, monitoring alone scores."""
    script = (
        "import sys; from bank_node.jobs.registry import JOBS; from fraudfed.wire.messages import"
        f" RunKind; JOBS[RunKind({kind.value!r})]; print('pandas' in sys.modules,"
        " 'xgboost' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_starts_without_what_its_commands_need(program: str) -> None:
    script = f"import sys, {program}.cli; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
