"""Files and folders of pacs.008 messages as one table.

A file holds one message or several, each with its business application header (``AppHdr``) or
without, in whatever envelope. A folder is read in the order of its files' names. Messages are read
in a memory that does not grow with the file; the rows they become do.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fraudfed.errors import DataError
from fraudfed.foreign_text import visible
from fraudfed.reading.iso20022.pacs008 import (
    COLUMNS,
    HEADER,
    MESSAGE,
    NAMESPACE,
    TRANSFER,
    VERSIONS,
    Header,
    has_offset,
    transfer,
)
from fraudfed.reading.iso20022.xml_stream import elements, release

_log = logging.getLogger(__name__)

SUFFIX: Final = ".xml"
#: Columns of the table: of each transfer, and where it stands.
MESSAGE_COLUMNS: Final = (*COLUMNS, "Place")
_TYPES: Final = {"Time": pa.timestamp("s", tz="UTC")}
_SCHEMA: Final = pa.schema([(name, _TYPES.get(name, pa.string())) for name in MESSAGE_COLUMNS])
#: Rows that become Arrow memory at a time.
_BATCH: Final = 1 << 14
#: Elements of one transfer or header; a real one has some hundred.
_MOST_ELEMENTS: Final = 20_000
#: Faults of one kind that are told one by one.
_TOLD: Final = 10
_SHOWN_CHARACTERS: Final = 80


def is_messages(path: Path) -> bool:
    """Tell whether a path is a file of messages by its suffix, or a folder with such files."""
    if path.is_dir():
        return bool(_files(path))
    return path.suffix.lower() == SUFFIX


def read_messages(path: Path) -> pa.Table:
    """Read every credit transfer.

    Parameters
    ----------
    path : Path
        A file ``.xml``, in whatever case, or a folder of them.

    Returns
    -------
    Arrow table of shape (n_transfers, n_columns)
        By ``MESSAGE_COLUMNS``: texts, and ``Time`` as a timestamp of whole seconds, UTC.

    Raises
    ------
    DataError
        If a file is no XML or holds anything but messages of these versions, or transfers lack what
        every payment has: names file, message, transfer and element.
    """
    faults = _Faults()
    batches = [
        pa.RecordBatch.from_pylist(rows, schema=_SCHEMA) for rows in _batches(_files(path), faults)
    ]
    faults.raise_any()
    if faults.without_offset:
        _log.warning(
            "%s: %d times have no offset from UTC and are taken as UTC", path, faults.without_offset
        )
    if not batches:
        raise DataError(f"{path}: holds no credit transfer, expected at least one {TRANSFER}")
    return pa.Table.from_batches(batches, _SCHEMA)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        (file for file in path.iterdir() if file.suffix.lower() == SUFFIX and file.is_file()),
        key=lambda file: os.fsencode(file.name),
    )


def _batches(files: Sequence[Path], faults: "_Faults") -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for file in files:
        for row in _transfers(file, faults):
            rows.append(row)
            if len(rows) == _BATCH:
                yield rows
                rows = []
    if rows:
        yield rows


@dataclass
class _Message:
    """A message that is being read.

    Attributes
    ----------
    element : element ``FIToFICstmrCdtTrf``
    space : str
        Its namespace.
    number : int
        Which one of its file it is, from 1.
    transfers : int
        Transfers that have ended.
    """

    element: Any
    space: str
    number: int
    header: Header = field(default_factory=Header)
    has_header: bool = False
    transfers: int = 0

    def place(self, transfer: int | None = None) -> str:
        """Say where in its file something is."""
        name = self.header.texts.get("MsgId")
        shown = "" if name is None else f" ({visible(repr(name), _SHOWN_CHARACTERS)})"
        which = "" if transfer is None else f", transfer {transfer}"
        return f"message {self.number}{shown}{which}"


def _transfers(file: Path, faults: "_Faults") -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; what is wrong with a transfer goes to ``faults``."""
    message: _Message | None = None
    messages = 0
    # The header or transfer that is open: of their elements nothing is freed before its end.
    open_element: Any = None
    size = 0
    for event, element in elements(file):
        name, space = _name(element)
        if event == "start":
            if open_element is not None:
                size += 1
                if size > _MOST_ELEMENTS:
                    raise DataError(
                        f"{_place(file, message)}: one {_name(open_element)[0]} has more than "
                        f"{_MOST_ELEMENTS} elements, expected some hundred; it is not read"
                    )
            elif name == MESSAGE and message is None:
                messages += 1
                message = _Message(element, _known(space, file), messages)
            elif name == "Document" and message is None:
                _known(space, file)
            elif (
                name in (HEADER, TRANSFER)
                and message is not None
                # Only its own: a message may hold others as a supplement.
                and (space, element.getparent()) == (message.space, message.element)
            ):
                open_element, size = element, 0
            continue
        if element is open_element and message is not None:
            open_element = None
            if name == HEADER:
                message.header, message.has_header = Header.of(element, space), True
            else:
                yield _row(element, message, file, faults)
        elif open_element is not None:
            continue
        elif message is not None and element is message.element:
            _check_count(message, file, faults)
            message = None
        release(element)
    if not messages:
        raise DataError(f"{file}: holds no message, expected one of {VERSIONS}")


def _row(element: Any, message: _Message, file: Path, faults: "_Faults") -> dict[str, Any]:
    message.transfers += 1
    place = message.place(message.transfers)
    if not message.has_header:
        faults.add(
            f"{file}: {place}", HEADER, "no group header before it", "GrpHdr as the first element"
        )
        message.has_header = True

    def fault(path: str, got: str, expected: str) -> None:
        faults.add(f"{file}: {place}", path, got, expected)

    row = transfer(element, message.space, message.header, number=message.transfers, fault=fault)
    time = row["AccptncDtTm"] or row["CreDtTm"]
    faults.without_offset += time is not None and not has_offset(time)
    row["Place"] = f"{file.name}: {place}"
    return row


def _check_count(message: _Message, file: Path, faults: "_Faults") -> None:
    said = message.header.texts.get("NbOfTxs")
    if said is None or not said.isascii() or not said.isdigit() or int(said) != message.transfers:
        faults.add(
            f"{file}: {message.place()}",
            f"{HEADER}/NbOfTxs",
            "no number" if said is None else repr(said),
            f"{message.transfers}, the transfers of the message; a part of it is missing, or too "
            "much is there",
        )


def _known(space: str, file: Path) -> str:
    if NAMESPACE.fullmatch(space):
        return space
    got = visible(space.removeprefix("urn:iso:std:iso:20022:tech:xsd:"), _SHOWN_CHARACTERS)
    raise DataError(
        f"{file}: holds a message of {got or 'no namespace'}, expected {VERSIONS}; leave other "
        "messages out"
    )


def _place(file: Path, message: _Message | None) -> str:
    return f"{file}: {message.place(message.transfers + 1)}" if message is not None else str(file)


def _name(element: Any) -> tuple[str, str]:
    """Return local name and namespace of an element."""
    space, brace, name = element.tag.rpartition("}")
    return name, space.removeprefix("{") if brace else ""


class _Faults:
    """What is wrong with transfers, the first ten of each kind, and how many there are."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self.without_offset = 0

    def add(self, place: str, path: str, got: str, expected: str) -> None:
        """Add a fault: where, of which element, and what."""
        kind = (path, expected)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        told = self._found.setdefault(kind, [])
        if len(told) < _TOLD:
            told.append(f"{place}: {path}: got {visible(got, _SHOWN_CHARACTERS)}")

    def raise_any(self) -> None:
        """Raise DataError if there is any fault."""
        if not self._found:
            return
        kind, told = next(iter(self._found.items()))
        more = self._counts[kind] - 1
        others = len(self._found) - 1
        raise DataError(
            f"{told[0]}, expected {kind[1]}"
            + (f" (and {more} more)" if more else "")
            + "; correct the message or leave it out"
            + (f"; {others} more problems in the messages" if others else "")
        )
