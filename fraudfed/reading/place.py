"""Where the bytes of a data file lie: on this machine, or in an object store.

A :class:`ObjectPath` offers what readers use of a ``pathlib.Path`` and is reached through fsspec,
which is imported when the first of them is opened (extra ``object-store``). It holds an address and
no credentials: fsspec takes those from where the store's own tools look for them, on whichever
machine a file is opened, so that paths can be pickled and shown.
"""

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from fraudfed.errors import ConfigurationError, DataError, FraudFedError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


@dataclass(frozen=True)
class ObjectPath:
    """An object of a store.

    Attributes
    ----------
    url : str
        As ``s3://bucket/prefix/rows.parquet``.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(self.url).name

    @property
    def suffix(self) -> str:
        """Of the name, with its point."""
        return PurePosixPath(self.url).suffix

    def open_binary(self) -> IO[bytes]:
        """Open to be read.

        Raises
        ------
        OSError
        """
        opened: IO[bytes] = file_system(self.url).open(self.url, "rb")
        return opened


#: Whatever a data file may be opened by.
AnyPath: TypeAlias = Path | ObjectPath


@dataclass(frozen=True)
class Stamp:
    """By which a file that was written again is told from what it was.

    Attributes
    ----------
    size : int
        Bytes.
    version : str
        Time of the last change in nanoseconds, or what the store calls the version: its ETag.
    """

    size: int
    version: str


def stamp_of(path: AnyPath) -> Stamp:
    """Return size and version of a file as they are now.

    Raises
    ------
    OSError
        If it is not there, or cannot be looked at.
    """
    if isinstance(path, ObjectPath):
        files = file_system(path.url)
        with answering(path.url):
            # What was listed before may be old.
            files.invalidate_cache()
            return stamp_of_info(files.info(path.url))
    found = path.stat()
    return Stamp(found.st_size, f"{found.st_mtime_ns}")


def stamp_of_info(info: dict[str, Any]) -> Stamp:
    """Return size and version out of what a store says of an object."""
    for key in ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime"):
        if info.get(key) is not None:
            return Stamp(int(info["size"]), str(info[key]).strip('"'))
    return Stamp(int(info["size"]), str(info.get("created", "")))


@contextmanager
def readable(path: AnyPath) -> Iterator[Any]:
    """Give Arrow what it reads: the path of a file on this machine, else an open file.

    Raises
    ------
    OSError
        Also in the place of what a store's own library raises.
    """
    if not isinstance(path, ObjectPath):
        yield path
        return
    with answering(path.url), path.open_binary() as stream:
        yield stream


@contextmanager
def open_text(path: AnyPath, encoding: str) -> Iterator[IO[str]]:
    """Open a file as text, with its line ends as they are; raises as ``readable``."""
    if not isinstance(path, ObjectPath):
        with path.open(encoding=encoding, newline="") as stream:
            yield stream
        return
    with (
        answering(path.url),
        path.open_binary() as binary,
        io.TextIOWrapper(binary, encoding, newline="") as text,
    ):
        yield text


@contextmanager
def open_bytes(path: AnyPath) -> Iterator[IO[bytes]]:
    """Open a file as bytes; raises as ``readable``."""
    if not isinstance(path, ObjectPath):
        with path.open("rb") as stream:
            yield stream
        return
    with answering(path.url), path.open_binary() as stream:
        yield stream


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn whatever a store's library raises into an OSError that says which kind it was.

    Raises
    ------
    OSError
    """
    try:
        yield
    except (OSError, UnicodeError, FraudFedError, pa.ArrowException, csv.Error):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        scheme = url.split("://", 1)[0]
        raise OSError(f"the {scheme} store did not answer: {type(error).__name__}: {reason}") from (
            error
        )


def file_system(url: str) -> "AbstractFileSystem":
    """Return what reaches a store.

    Parameters
    ----------
    url : str
        Its scheme says which store.

    Raises
    ------
    ConfigurationError
        If fsspec, or its part for this store, is not installed, or it knows no such store.
    DataError
        If the store's settings or credentials cannot be used.
    """
    scheme = url.split("://", 1)[0]
    try:
        import fsspec
    except ImportError:
        raise ConfigurationError(
            f"{scheme}://: object stores need the extra 'object-store'; install it with "
            "'pip install fraudfed[object-store]'"
        ) from None
    try:
        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise ConfigurationError(
            f"{scheme}://: the package that reaches this store is not installed "
            f"({' '.join(str(error).split())[:120]}); install it beside 'fraudfed[object-store]'"
        ) from None
    except ValueError:
        raise ConfigurationError(
            f"{scheme}://: fsspec knows no such store, expected s3, gs, abfs or another of its own"
        ) from None
    except Exception as error:
        raise DataError(
            f"{scheme}://: the store cannot be opened ({type(error).__name__}); check its settings "
            "and credentials"
        ) from error


def order_of(path: AnyPath) -> bytes:
    """Return what files are put in order by: the bytes of their whole names."""
    return os.fsencode(str(path))
