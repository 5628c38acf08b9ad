"""Files and folders of pacs.008 messages as one table.

A file holds one message or several, each with its business application header (``AppHdr``) or
without, in whatever envelope. A folder is read in the order of its files' names. Messages are read
in a memory that does not grow with the file; the rows they become do.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fraudfed.errors import DataError
from fraudfed.foreign_text import visible
from fraudfed.reading.iso20022.files import MESSAGE_COLUMNS, message_files
from fraudfed.reading.iso20022.pacs008 import (
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
from fraudfed.reading.problems import MOST_CELLS, Cell, Problem, Problems

_log = logging.getLogger(__name__)

_TYPES: Final = {"Time": pa.timestamp("s", tz="UTC")}
_SCHEMA: Final = pa.schema([(name, _TYPES.get(name, pa.string())) for name in MESSAGE_COLUMNS])
#: Rows that become Arrow memory at a time.
_BATCH: Final = 1 << 14
#: Elements of one transfer or header; a real one has some hundred.
_MOST_ELEMENTS: Final = 20_000
_SHOWN_CHARACTERS: Final = 80
_ADVICE: Final = "correct the message or leave it out"


def read_messages(path: Path, problems: Problems | None = None) -> pa.Table:
    """Read every credit transfer.

    Parameters
    ----------
    path : Path
        A file ``.xml``, in whatever case, or a folder of them.
    problems : Problems or None
        Takes what is wrong with transfers, instead of an exception.

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
    reader = _Reader(path)
    batches = [pa.RecordBatch.from_pylist(rows, schema=_SCHEMA) for rows in reader.batches()]
    found = Problems(str(path)) if problems is None else problems
    found.extend(reader.problems())
    if problems is None:
        found.raise_any()
    if reader.without_offset:
        _log.warning(
            "%s: %d times have no offset from UTC and are taken as UTC", path, reader.without_offset
        )
    if not batches:
        raise DataError(f"{path}: holds no credit transfer, expected at least one {TRANSFER}")
    return pa.Table.from_batches(batches, _SCHEMA)


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


@dataclass
class _Fault:
    """A kind of fault of one element: how often, and the first of them."""

    advice: str
    count: int = 0
    cells: list[Cell] = field(default_factory=list)


class _Reader:
    """Reads files of messages; keeps what is wrong with them.

    Attributes
    ----------
    without_offset : int
        Times that do not say how far they are from UTC.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._faults: dict[tuple[str, str, str], _Fault] = {}
        self.without_offset = 0

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong, a problem for each kind and element."""
        for (kind, element, expected), fault in self._faults.items():
            yield Problem(
                kind, repr(element), fault.count, tuple(fault.cells), expected, fault.advice
            )

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """Yield rows, many at a time."""
        rows: list[dict[str, Any]] = []
        for file in message_files(self._path):
            for row in self._transfers(file):
                rows.append(row)
                if len(rows) == _BATCH:
                    yield rows
                    rows = []
        if rows:
            yield rows

    def _transfers(self, file: Path) -> Iterator[dict[str, Any]]:
        """Yield the rows of a file."""
        message: _Message | None = None
        messages = 0
        # The header or transfer that is open: of its elements nothing is freed before its end.
        open_element: Any = None
        size = 0
        for event, element in elements(file):
            if open_element is not None and element is not open_element:
                size += event == "start"
                if size > _MOST_ELEMENTS:
                    raise DataError(
                        f"{file}: one {_name(open_element)[0]} has more than {_MOST_ELEMENTS} "
                        f"elements, expected some hundred; it is not read"
                    )
                continue
            name, space = _name(element)
            if event == "start":
                if name == MESSAGE and message is None:
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
                    yield self._row(element, message, file)
            elif message is not None and element is message.element:
                self._check_count(message, file)
                message = None
            release(element)
        if not messages:
            raise DataError(f"{file}: holds no message, expected one of {VERSIONS}")

    def _row(self, element: Any, message: _Message, file: Path) -> dict[str, Any]:
        message.transfers += 1
        self._rows += 1
        place = self._place(file, message.place(message.transfers))

        def fault(kind: str, path: str, got: str, expected: str) -> None:
            self._add(kind, path, expected, place, got, line=element.sourceline)

        if not message.has_header:
            fault("no_header", HEADER, "nothing", "a group header before the transfers")
        row = transfer(
            element, message.space, message.header, number=message.transfers, fault=fault
        )
        time = row["AccptncDtTm"] or row["CreDtTm"]
        self.without_offset += time is not None and not has_offset(time)
        row["Place"] = place
        return row

    def _check_count(self, message: _Message, file: Path) -> None:
        said = message.header.texts.get("NbOfTxs")
        # Max15NumericText
        is_number = said is not None and re.fullmatch("[0-9]{1,15}", said) is not None
        if not is_number or int(str(said)) != message.transfers:
            self._add(
                "wrong_count",
                f"{HEADER}/NbOfTxs",
                "the number of transfers that the message holds",
                self._place(file, message.place()),
                f"{'nothing' if said is None else repr(said)} for {message.transfers} transfers",
                line=None,
                advice="a part of the message is missing, or too much is there: get it whole",
            )

    def _place(self, file: Path, place: str) -> str:
        return place if file == self._path else f"{file.name}, {place}"

    def _add(
        self,
        kind: str,
        element: str,
        expected: str,
        place: str,
        got: str,
        *,
        line: int | None,
        advice: str = _ADVICE,
    ) -> None:
        found = self._faults.setdefault((kind, element, expected), _Fault(advice))
        found.count += 1
        if len(found.cells) < MOST_CELLS:
            shown = visible(got, _SHOWN_CHARACTERS)
            found.cells.append(Cell(max(self._rows, 1), line, f"{shown} in {place}"))


def _known(space: str, file: Path) -> str:
    if NAMESPACE.fullmatch(space):
        return space
    got = visible(space.removeprefix("urn:iso:std:iso:20022:tech:xsd:"), _SHOWN_CHARACTERS)
    raise DataError(
        f"{file}: holds a message of {got or 'no namespace'}, expected {VERSIONS}; leave other "
        "messages out"
    )


def _name(element: Any) -> tuple[str, str]:
    """Return local name and namespace of an element."""
    space, brace, name = element.tag.rpartition("}")
    return name, space.removeprefix("{") if brace else ""
