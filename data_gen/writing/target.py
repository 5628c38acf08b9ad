"""The directory of a data set: complete or absent, even if the program is killed.

Files are written to a hidden directory beside the target, ``.NAME.partial-XXXX``, which is renamed
at the end. A killed program leaves it behind. The writer locks a file in it, and the operating
system releases the lock with the process. So the next call for the same target removes directories
that were left behind, and keeps one that another process is still writing.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from data_gen.writing.manifest import read_manifest
from fraudfed.errors import DataError, StateError

_LOCK_NAME: Final = ".lock"


@contextlib.contextmanager
def new_data_set(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty directory that becomes ``out`` if the block ends without an error.

    Parameters
    ----------
    out : Path
        May exist if it is empty, or with ``force`` if it holds a data set of this program.
    force : bool
        Replace such a data set.

    Raises
    ------
    StateError
        ``out`` is in use, is not writable or may not be replaced, or an ``OSError`` ended the
        block. Nothing is left behind.
    """
    # resolve() would follow a symbolic link, and replace what it points to.
    out = Path(os.path.abspath(out))  # noqa: PTH100
    try:
        _restore_and_sweep(out)
    except OSError as error:
        raise _cannot_be_made(out, error) from error
    _check_target(out, force=force)
    try:
        partial = _make_partial(out)
    except OSError as error:
        raise _cannot_be_made(out, error) from error
    try:
        with _locked(partial):
            yield partial
            (partial / _LOCK_NAME).unlink()
            # Another call may have published its data set meanwhile.
            _check_target(out, force=force)
            _move_into_place(partial, out)
    except OSError as error:
        raise StateError(
            f"{out}: cannot be written ({error.strerror or error}); "
            "nothing was left there, free some space or choose another --out"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _cannot_be_made(out: Path, error: OSError) -> StateError:
    return StateError(
        f"{out}: cannot be made ({error.strerror}); choose an --out that you may write to"
    )


def _restore_and_sweep(out: Path) -> None:
    """Undo what a killed call for the same target left beside it."""
    if not out.parent.is_dir():
        return
    for old in sorted(out.parent.glob(f".{_escaped(out.name)}.old-*")):
        # Killed between the two renames of a replacement: the old data set is still whole.
        if not out.exists():
            old.rename(out)
        else:
            shutil.rmtree(old)
    for partial in sorted(out.parent.glob(f".{_escaped(out.name)}.partial-*")):
        with contextlib.suppress(BlockingIOError), _locked(partial):
            shutil.rmtree(partial)


def _escaped(name: str) -> str:
    """Return a name in which a glob sees no pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Hold the lock of a hidden directory; BlockingIOError if another process does."""
    descriptor = os.open(partial / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _check_target(out: Path, *, force: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise StateError(f"{out}: is a file, expected a directory; choose another --out")
    try:
        empty = not any(out.iterdir())
    except OSError as error:
        raise StateError(f"{out}: cannot be read ({error.strerror}); choose another") from error
    if empty:
        return
    if not force:
        raise StateError(
            f"{out}: not empty; choose another --out, or --force to replace a data set"
        )
    try:
        read_manifest(out)
    except DataError as error:
        raise StateError(
            f"{out}: not empty and not written by data-gen; "
            "--force replaces only such data sets, choose another --out"
        ) from error


def _make_partial(out: Path) -> Path:
    """Return a new hidden directory on the same file system as ``out``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    partial.chmod(0o755)
    return partial


def _move_into_place(partial: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        # On POSIX a rename replaces an empty directory.
        partial.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)
