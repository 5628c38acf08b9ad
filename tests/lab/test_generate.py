"""``fraudfed bench generate``: what it measures is what it says."""

import json
import sys

import pytest
from click.testing import CliRunner

from fraudfed.errors import ConfigurationError
from fraudfed.lab.bench.generate import generate_command
from fraudfed.lab.bench.process_tree import run_command_measured

OPTIONS = ("--preset", "small", "--customers", "200", "--days", "14")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_figures_fit_together(workers: int) -> None:
    ended = CliRunner().invoke(
        generate_command,
        [*OPTIONS, "--seed", "3", "--workers", str(workers), "--json"],
        catch_exceptions=False,
    )
    found = json.loads(ended.stdout)
    assert (found["preset"], found["customers"], found["days"]) == ("small", 200, 14)
    assert (found["seed"], found["workers"], found["banks"]) == (3, workers, 5)
    assert found["rows"] > 1_000
    assert found["bytes_written"] > 10_000
    assert found["rows_per_second"] == pytest.approx(found["rows"] / found["seconds"])
    assert found["rows_per_second_and_core"] == pytest.approx(found["rows"] / found["cpu_seconds"])
    assert found["ratio"] == pytest.approx(found["cpu_seconds"] / found["reference_seconds"])
    assert found["peak_memory_bytes"] > 20 * 2**20
    assert found["machine"]["versions"]["pyarrow"]


def test_the_report_names_what_was_measured() -> None:
    ended = CliRunner().invoke(generate_command, OPTIONS, catch_exceptions=False)
    for expected in ("small, seed 42", "rows a second", "MiB at the peak", "ratio", "machine"):
        assert expected in ended.stdout


def test_what_the_generator_refuses_is_said_in_its_words() -> None:
    with pytest.raises(ConfigurationError, match="--preset"):
        CliRunner().invoke(generate_command, ["--preset", "none"], catch_exceptions=False)


def test_memory_and_time_of_children_are_counted() -> None:
    # A parent that does nothing, and a child that holds 200 MB and computes.
    child = "import time; b = b'x' * 200_000_000; t = time.process_time()\n"
    child += "while time.process_time() - t < 0.5: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    cost = run_command_measured([sys.executable, "-c", parent])
    assert cost.exit_code == 0
    assert cost.cpu_seconds >= 0.5
    assert cost.seconds >= 0.5
    assert cost.peak_memory_bytes > 200_000_000


def test_the_exit_code_and_what_is_said_are_kept() -> None:
    script = "import sys; print('why', file=sys.stderr); sys.exit(7)"
    cost = run_command_measured([sys.executable, "-c", script])
    assert (cost.exit_code, cost.error_text) == (7, "why\n")
