"""Locks on files: one holder at a time, and none once the process of the holder has ended."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bank_node.state.lock_file import locked, take_lock
from fraudfed.durable_file import make_private
from fraudfed.errors import StateError


def test_a_second_taker_is_told_who_holds_it_and_the_next_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, held="busy"), pytest.raises(StateError, match=r"^busy$"):
        take_lock(path, held="busy")
    os.close(take_lock(path, held="busy"))
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_message_the_second_taker_waits(tmp_path: Path) -> None:
    path, came = tmp_path / ".lock", threading.Event()

    def take() -> None:
        with locked(path, held=None):
            came.set()

    second = threading.Thread(target=take)
    with locked(path, held=None):
        second.start()
        assert not came.is_set()
    second.join(60)
    assert came.is_set()


@pytest.mark.e2e
def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from bank_node.state.lock_file import take_lock\n"
        "take_lock(Path(sys.argv[1]), held='held')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert done.returncode == -9
    os.close(take_lock(path, held="held"))


def test_where_nothing_can_be_made_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"file/\.lock: cannot be made .*; check owner, mode"):
        take_lock(tmp_path / "file" / ".lock", held="held")
    with pytest.raises(StateError, match="file/inner: cannot be made"):
        make_private(tmp_path, tmp_path / "file" / "inner")


def test_directories_are_made_from_the_outer_one_in(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    make_private(outer, inner)
    make_private(outer, inner)
    assert [each.stat().st_mode & 0o777 for each in (outer, inner)] == [0o700, 0o700]
