"""Bodies on their way in: however many arrive at once, few are in memory.

A body is received into memory while all that are there have less than ``ARRIVING_BYTES`` together,
and into an unnamed file beside the database otherwise. One in a file comes into memory only while
its request is worked on, and ``LOADED_AT_ONCE`` of those at a time. So a cohort of fifty banks that
send at the same moment needs the memory of a few of them. No sender holds a place in memory that
others wait for while it is still sending, so a slow one holds up no other.
"""

import contextlib
import hashlib
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from werkzeug.exceptions import ClientDisconnected

from fraudfed.errors import ProtocolError, UnavailableError

#: Three contributions of a level of a tree.
ARRIVING_BYTES = 512 * 1024
#: As many as two cores work on, and one that has its turn next.
LOADED_AT_ONCE = 3
#: Body of a caller that is not known yet: the registration of a bank has a tenth of it.
MOST_UNKNOWN_BYTES = 4096
_PIECE_BYTES = 64 * 1024


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class Body:
    """One body, received whole.

    Attributes
    ----------
    sha256 : bytes of length 32
    file : file object or None
        Where it is; None if it is in memory.
    """

    def __init__(self, sha256: bytes, *, data: bytes = b"", file: IO[bytes] | None = None) -> None:
        self.sha256 = sha256
        self.file = file
        self._data = data

    def _load(self) -> bytes:
        if self.file is None:
            return self._data
        self.file.seek(0)
        return self.file.read()


class Bodies:
    """The bodies of all requests that are being handled. Safe to use from many threads.

    Parameters
    ----------
    directory : Path
        Where bodies are kept that do not fit into memory.
    arriving_bytes : int
        Of bodies that are received into memory at the same time.
    loaded_at_once : int
        Bodies that come from a file into memory at the same time.
    """

    def __init__(
        self,
        directory: Path,
        *,
        arriving_bytes: int = ARRIVING_BYTES,
        loaded_at_once: int = LOADED_AT_ONCE,
    ) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._free = arriving_bytes
        self._loads = threading.BoundedSemaphore(loaded_at_once)

    @contextmanager
    def received(self, stream: _Stream, length: int) -> Iterator[Body]:
        """Receive a body of ``length`` bytes; it is gone after the block.

        Raises
        ------
        ProtocolError
            If the sender stops before its end.
        UnavailableError
            If there is no room for the file.
        """
        fits = self._reserve(length)
        try:
            if fits:
                yield _into_memory(stream, length)
            else:
                with _file_in(self._directory) as file:
                    yield _into_file(stream, length, file)
        finally:
            if fits:
                self._release(length)

    @contextmanager
    def loaded(self, body: Body) -> Iterator[bytes]:
        """Have the bytes of a body in memory."""
        if body.file is None:
            yield body._load()
        else:
            with self._loads:
                yield body._load()

    def _reserve(self, length: int) -> bool:
        with self._lock:
            if length > self._free:
                return False
            self._free -= length
            return True

    def _release(self, length: int) -> None:
        with self._lock:
            self._free += length


def _into_memory(stream: _Stream, length: int) -> Body:
    data = b"".join(_pieces(stream, length))
    return Body(hashlib.sha256(data).digest(), data=data)


def _into_file(stream: _Stream, length: int, file: IO[bytes]) -> Body:
    digest = hashlib.sha256()
    for piece in _pieces(stream, length):
        digest.update(piece)
        with _room():
            file.write(piece)
    with _room():
        file.flush()
    return Body(digest.digest(), file=file)


@contextmanager
def _file_in(directory: Path) -> Iterator[IO[bytes]]:
    with _room():
        file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        # What could not be written cannot be written at the end either.
        with contextlib.suppress(OSError):
            file.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            "the aggregator has no room for the request's body at present; send the same request "
            "again later (its operator finds the cause in the log)"
        ) from error


def _pieces(stream: _Stream, length: int) -> Iterator[bytes]:
    left = length
    while left:
        try:
            piece = stream.read(min(left, _PIECE_BYTES))
        except (ClientDisconnected, OSError) as error:
            raise _broke_off(length, type(error).__name__) from None
        if not piece:
            raise _broke_off(length, f"{left} are missing")
        left -= len(piece)
        yield piece


def _broke_off(length: int, reason: str) -> ProtocolError:
    return ProtocolError(
        f"body broke off before the announced {length} bytes ({reason}); send it again"
    )
