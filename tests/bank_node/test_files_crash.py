"""A bank's files when the program is killed at any instant, or the disk is full."""

import contextlib
import hashlib
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bank_node.state.checkpoints import Checkpoints
from bank_node.state.outbox import Kept, Outbox
from bank_node.state.round_log import RoundLog
from bank_node.state.round_record import RoundRecord
from bank_node.vault.vault import PlainVault
from fraudfed.errors import StateError
from tests.support.bank_files_child import digest, make_checkpoint, opened

KILLS = 25


def run_and_kill(directory: Path, seed: int, lines: int) -> list[list[str]]:
    """Let the child write, kill it about when it has said ``lines`` lines; return what it said."""
    command = [sys.executable, "-m", "tests.support.bank_files_child", str(directory), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        # Some instant within what comes next.
        time.sleep(random.Random(seed).uniform(0, 0.02))
        child.kill()
        said += child.stdout.readlines()
    assert child.returncode == -9, said
    return [line.split() for line in said]


def test_killed_at_any_instant(tmp_path) -> None:
    sent: dict[int, str] = {}
    saved: dict[int, int] = {}
    kills_since_save = 0
    for seed in range(KILLS):
        kills_since_save += 1
        for what, number, *rest in run_and_kill(tmp_path, seed, 1 + seed % 9):
            if what == "sent":
                # The law: for a round the same bytes, whichever program sends them.
                assert sent.setdefault(int(number), rest[0]) == rest[0]
            elif what == "saved":
                saved[int(number)] = int(rest[0])
                kills_since_save = 1
            else:
                assert int(number) >= max(saved, default=0)
        outbox, checkpoints = opened(tmp_path)
        latest = checkpoints.latest()
        step = 0 if latest is None else latest.step
        # A step whose end the parent was not told may be there; one that it was told must be.
        assert step - max(saved, default=0) in (0, 1)
        if latest is not None:
            assert latest == make_checkpoint(step, saved.setdefault(step, seed))
            # Each program killed between writing and removing leaves one more; the next save that
            # ends removes them all.
            kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
            assert kept == {f"step-{step - back}.checkpoint" for back in range(len(kept))}
            assert len(kept) <= 2 + kills_since_save
        for number, frame in sent.items():
            kept = outbox.find(digest(number))
            assert kept is not None, f"round {number} was sent and is forgotten"
            if number >= 3 * step:
                assert kept.contribution is not None
                assert hashlib.sha256(kept.contribution).hexdigest() == frame
        if (mine := max(sent, default=-1) + 1) >= 3 * step:
            # A contribution whose sending the parent was not told, whole or not at all.
            found = outbox.find(digest(mine))
            if found is not None:
                assert found.contribution is not None
                sent[mine] = hashlib.sha256(found.contribution).hexdigest()
    assert len(saved) > 3


class SmallDisk:
    """A file system of 256 kB, mounted at ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ballast = directory / "ballast"

    def fill(self) -> None:
        """Leave one page, so that a write begins and does not end."""
        with self.ballast.open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            file.truncate(file.tell() - 4096)

    def make_room(self) -> None:
        self.ballast.unlink()


class LimitedFiles:
    """No file of this process may grow beyond 6 kB."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, self.before[1]))

    def make_room(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request, tmp_path) -> Iterator[SmallDisk | LimitedFiles]:
    if request.param == "limit":
        limited = LimitedFiles(tmp_path)
        yield limited
        limited.make_room()
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    yield SmallDisk(tmp_path)
    subprocess.run(["umount", str(tmp_path)], check=True)


def contents(directory: Path) -> dict[str, bytes]:
    """Return what the files hold; an empty one is as good as none."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "ballast" and path.stat().st_size
    }


def fails_while_full(disk: SmallDisk | LimitedFiles, call: Callable[[], None]) -> None:
    """Let a call fail without a trace, then succeed."""
    before = contents(disk.directory)
    disk.fill()
    try:
        with pytest.raises(StateError, match=r"No space left|File too large"):
            call()
    finally:
        disk.make_room()
    assert contents(disk.directory) == before
    call()


def test_a_full_disk_keeps_no_contribution(disk) -> None:
    path, large = disk.directory / "sealed", bytes(range(256)) * 100
    outbox = Outbox(path)

    def keep(number: int, frame: bytes) -> Callable[[], None]:
        return lambda: outbox.keep(digest(number), frame, label="cuts", round_number=number)

    fails_while_full(disk, keep(0, large))
    keep(1, b"small")()
    fails_while_full(disk, keep(2, large))
    fails_while_full(disk, lambda: outbox.keep_opening(digest(1), large))
    for each in (outbox, Outbox(path)):
        assert each.find(digest(1)) == Kept(b"small", large)
        assert each.find(digest(2)) == Kept(large, None)


def test_a_full_disk_saves_no_checkpoint(disk) -> None:
    saved = Checkpoints(
        disk.directory / "checkpoints", run_id="r1", bank="bank-a", vault=PlainVault()
    )
    for step in range(3):
        saved.save(make_checkpoint(step, 0))
    fails_while_full(disk, lambda: saved.save(make_checkpoint(3, 0)))
    fails_while_full(disk, lambda: saved.save(make_checkpoint(3, 1)))
    assert saved.latest() == make_checkpoint(3, 1)
    assert saved.at(2) == make_checkpoint(2, 0)


def test_a_full_disk_forgets_nothing(disk) -> None:
    # More digests than a page holds.
    path = disk.directory / "sealed"
    outbox = Outbox(path)
    for number in range(400):
        outbox.keep(digest(number), b"small", label="cuts", round_number=number)
    fails_while_full(disk, outbox.forget_payloads)
    assert all(digest(number) in Outbox(path) for number in range(400))


def test_a_full_disk_logs_no_round(disk) -> None:
    log = RoundLog(disk.directory / "rounds.log")

    def append(number: int, label: str) -> None:
        record = RoundRecord(number, label, "c", "k", 3072, 1, 768, "ifma", 2, True)
        log.append(record, bytes_sent=1, bytes_received=1)

    append(0, "cuts")
    fails_while_full(disk, lambda: append(1, "x" * 20_000))
    assert [each.record.number for each in RoundLog(disk.directory / "rounds.log").read(9)] == [
        0,
        1,
    ]
