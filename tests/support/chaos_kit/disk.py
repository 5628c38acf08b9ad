"""A small disk that can be filled and freed again: a file system in memory. Needs root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BALLAST = "ballast"
_PIECE = b"\0" * 4096


class SmallDisk:
    """A directory on a disk of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> int:
        """Leave no room; return how many bytes that took."""
        written = 0
        handle = os.open(self.path / _BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with suppress(OSError):
            while True:
                written += os.write(handle, _PIECE)
        os.close(handle)
        return written

    def free(self) -> None:
        """Give the room back."""
        (self.path / _BALLAST).unlink(missing_ok=True)


def can_mount(scratch: Path) -> bool:
    """Whether this user may make such a disk."""
    if os.geteuid() != 0:
        return False
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        with small_disk(scratch, mebibytes=1):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def small_disk(path: Path, *, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount a disk at an empty directory until the block ends."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=700", "tmpfs", str(path)],
        check=True,
        capture_output=True,
    )
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)
