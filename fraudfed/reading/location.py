"""What ``--data`` names, and opening it: the one way in which rows come in.

A file; a directory of Parquet or CSV files, also below ``column=value`` directories; a glob of
either; a folder of ISO 20022 messages; an object, a prefix or a glob in an object store
(``s3://bucket/prefix/*.parquet``); or a query to PostgreSQL.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from fraudfed.errors import ConfigurationError, DataError
from fraudfed.foreign_text import visible
from fraudfed.reading.file import SUFFIXES, DataFile
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat
from fraudfed.reading.iso20022.files import is_messages
from fraudfed.reading.partitioned import open_files
from fraudfed.reading.place import AnyPath, ObjectPath, answering, file_system, order_of
from fraudfed.reading.query import Query

#: What ``--data`` names. Its text is for messages: it shows no password.
Location: TypeAlias = AnyPath | Query

_DATABASES: Final = ("postgresql", "postgres")
#: What other programs leave beside data: ``_SUCCESS``, ``_metadata``, ``.part-0.crc``.
_NO_DATA: Final = ("_", ".")
_MAGIC: Final = "*?["


def parse_location(text: str, *, query: str | None = None) -> Location:
    """Read what was given as ``--data``, and ``--query`` beside it; nothing is opened.

    Parameters
    ----------
    text : str
    query : str or None
        SQL, or the name of a file ``.sql`` with it.

    Raises
    ------
    ConfigurationError
        If one of the two is without the other, or the address is no address.
    """
    scheme, sign, _ = text.partition("://")
    if sign and scheme.lower() in _DATABASES:
        return Query.parse(text, query)
    if query is not None:
        raise ConfigurationError(
            "--query: goes with --data postgresql://... alone; leave it out, or name the database"
        )
    if sign and scheme.isalnum():
        return Path(text.removeprefix("file://")) if scheme == "file" else ObjectPath(text)
    return Path(text)


def open_data(
    location: Location,
    *,
    source_names: Mapping[str, str] | None = None,
    file_format: FileFormat = PLAIN_CSV,
) -> DataFile:
    """Open whatever a location names, and read the headers.

    Parameters
    ----------
    location : Location
    source_names : mapping of str to str, or None
        What columns are called there, by what they are called here.
    file_format : FileFormat
        How CSV is written.

    Returns
    -------
    DataFile
        A ``PartitionedFile`` for anything but one file or messages.

    Raises
    ------
    DataError
        If there is nothing, or it cannot be read, or the files differ in format or columns.
    ConfigurationError
        If what reaches a store or database is not installed.
    """
    if isinstance(location, Query):
        directory = location.answer()
        return open_files(
            directory,
            sorted(directory.glob("*.parquet"), key=order_of),
            shown=str(location),
            source_names=source_names,
            file_format=file_format,
            names_files=False,
        )
    root: AnyPath
    if isinstance(location, ObjectPath):
        root, paths = _objects(location)
    else:
        if not _is_many(location):
            return DataFile.open(location, source_names=source_names, file_format=file_format)
        root, paths = _files(location)
    return open_files(
        root, paths, shown=str(location), source_names=source_names, file_format=file_format
    )


def _is_many(path: Path) -> bool:
    if path.is_dir():
        return not is_messages(path)
    return not path.exists() and any(sign in str(path) for sign in _MAGIC)


def _files(path: Path) -> tuple[Path, list[AnyPath]]:
    """Return where ``column=value`` directories begin, and the files in their order."""
    if path.is_dir():
        root, found = path, list(_below(path))
        for one in found:
            if one.suffix.lower() not in SUFFIXES:
                raise DataError(
                    f"{visible(str(one))}: file type {one.suffix or 'without suffix'!r}, expected "
                    "a directory of .parquet or .csv files alone; move it, or name the files by a "
                    f"glob as {visible(str(path))}/*.parquet"
                )
        expected = "a directory of .parquet or .csv files"
    else:
        at = next(i for i, part in enumerate(path.parts) if _has_magic(part))
        root, expected = Path(*path.parts[:at]), "at least one"
        found = [
            one
            for one in root.glob(str(Path(*path.parts[at:])))
            if one.is_file() and (not one.name.startswith(_NO_DATA) or path.name[0] not in _MAGIC)
        ]
    if not found:
        raise DataError(
            f"{visible(str(path))}: no file matches, expected {expected}; check the path"
        )
    return root, sorted(found, key=order_of)


def _has_magic(part: str) -> bool:
    return any(sign in part for sign in _MAGIC)


def _below(directory: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(
            f"{visible(str(error.filename))}: cannot be listed ({error.strerror or error}); check "
            "owner and mode"
        ) from error

    for above, names, files in os.walk(directory, onerror=refuse):
        names[:] = [name for name in names if not name.startswith(_NO_DATA)]
        for name in files:
            if not name.startswith(_NO_DATA):
                yield Path(above, name)


def _objects(location: ObjectPath) -> tuple[ObjectPath, list[AnyPath]]:
    url = location.url
    scheme = url.split("://", 1)[0]
    store = file_system(url)
    try:
        with answering(url):
            store.invalidate_cache()
            if _has_magic(url.split("://", 1)[1]):
                found = store.glob(url)
                parts = url.split("/")
                at = next(i for i, part in enumerate(parts) if _has_magic(part))
                root = "/".join(parts[:at])
            else:
                # Of a single object it finds that.
                found, root = store.find(url), url.rstrip("/")
    except OSError as error:
        raise DataError(
            f"{visible(str(location))}: cannot be listed ({error.strerror or error}); check the "
            "address and the credentials"
        ) from error
    named = [ObjectPath(f"{scheme}://{key}") for key in found]
    paths: list[AnyPath] = [
        path
        for path in named
        if not any(part.startswith(_NO_DATA) for part in path.url[len(root) :].split("/"))
    ]
    if not paths:
        raise DataError(
            f"{visible(str(location))}: no object matches, expected at least one; check the address"
        )
    return ObjectPath(root), sorted(paths, key=order_of)
