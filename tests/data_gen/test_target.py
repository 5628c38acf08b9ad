"""All or nothing: what a target may be, and what a killed program leaves behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_gen.writing.target import new_data_set
from fraudfed.errors import StateError

MANIFEST = '{"format": "data-gen/2"}'


def _make(out: Path, content: str, *, force: bool = False) -> None:
    with new_data_set(out, force=force) as partial:
        (partial / "rows.txt").write_text(content)
        (partial / "manifest.json").write_text(MANIFEST)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_block_that_ends_well_becomes_the_target(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "set"
    _make(out, "one")
    assert _names(out.parent) == ["set"]
    assert _names(out) == ["manifest.json", "rows.txt"]
    _make(out, "two", force=True)
    assert (out / "rows.txt").read_text() == "two"
    assert _names(out.parent) == ["set"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "set"
    _make(out, "one")

    def fail() -> None:
        with new_data_set(out, force=True) as partial:
            (partial / "half").touch()
            raise error

    with pytest.raises(type(error)):
        fail()
    assert (out / "rows.txt").read_text() == "one"
    assert _names(tmp_path) == ["set"]


def test_a_link_is_replaced_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        _make(tmp_path / "link", "one")
    assert _names(tmp_path / "elsewhere") == []


def test_what_a_killed_call_left_is_removed_and_other_names_are_not(tmp_path: Path) -> None:
    for name in (".set.partial-abc", ".set.old-abc", ".settle.partial-x", ".se*.partial-y"):
        (tmp_path / name).mkdir()
    _make(tmp_path / "set", "one")
    # The old one was empty and there was no target: it is not a data set, and gets replaced.
    assert _names(tmp_path) == [".se*.partial-y", ".settle.partial-x", "set"]
    _make(tmp_path / "se*", "two")
    assert _names(tmp_path) == [".settle.partial-x", "se*", "set"]


def test_a_replacement_killed_between_its_two_renames_is_undone(tmp_path: Path) -> None:
    out = tmp_path / "set"
    _make(out, "old")
    out.rename(tmp_path / ".set.old-abc")
    (tmp_path / ".set.partial-abc").mkdir()
    with pytest.raises(StateError, match="not empty"):
        _make(out, "new")
    assert (out / "rows.txt").read_text() == "old"
    assert _names(tmp_path) == ["set"]


def test_of_two_calls_at_once_the_first_to_end_wins(tmp_path: Path) -> None:
    out = tmp_path / "set"

    def overtaken() -> None:
        with new_data_set(out, force=False) as partial:
            (partial / "rows.txt").write_text("slow")
            _make(out, "fast")
            # The lock kept the other call from sweeping this one's directory away.
            assert (partial / "rows.txt").read_text() == "slow"

    with pytest.raises(StateError, match="not empty"):
        overtaken()
    assert (out / "rows.txt").read_text() == "fast"
    assert _names(tmp_path) == ["set"]


def _generate_until_spooled(out: Path) -> "subprocess.Popen[str]":
    """Start a call with two workers, in a process group of its own; return when parts are made."""
    command = [
        *(sys.executable, "-c", "from data_gen.cli import main; main()"),
        *("generate", "--out", str(out), "--customers", "20000", "--days", "60"),
        *("--workers", "2", "--quiet"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.parent.glob(f".{out.name}.partial-*/.spool/*/*.npy")):
        assert process.poll() is None
        assert time.monotonic() < deadline, "no part was spooled"
        time.sleep(0.01)
    return process


def test_kill_leaves_a_hidden_directory_that_the_next_call_removes(tmp_path: Path) -> None:
    out = tmp_path / "world"
    with _generate_until_spooled(out) as process:
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    (left,) = _names(tmp_path)
    assert left.startswith(".world.partial-")
    _make(out, "next")
    assert _names(tmp_path) == ["world"]


def test_an_interrupt_that_comes_twice_ends_the_call_and_leaves_nothing(tmp_path: Path) -> None:
    """As a terminal and ``timeout`` send it: to the process, and to its whole group."""
    with _generate_until_spooled(tmp_path / "world") as process:
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "interrupted"
    assert _names(tmp_path) == []
