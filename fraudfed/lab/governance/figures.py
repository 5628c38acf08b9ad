"""Figures of documents: each a value of a record, with where it stands.

A document writes a figure as its value and the number of its source, ``0.633 [4]``, and ends with
the list of its sources. What no record says is *not recorded*, and becomes an open point.
"""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fraudfed.lab.governance.records import Records

#: What stands in a document where records say nothing.
NOT_RECORDED = "*not recorded*"


@dataclass(frozen=True)
class Figure:
    """A value that a document states.

    Attributes
    ----------
    number : int
        In its document, from 1.
    text : str
        As it is written there.
    value : JSON value
        As it stands in the record.
    file, pointer : str
        Where: a file of the run, and an RFC 6901 pointer.
    """

    number: int
    text: str
    value: Any
    file: str
    pointer: str


class FigureBook:
    """The figures and open points of one document, in the order in which it states them."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._figures: dict[tuple[str, str, str], Figure] = {}
        self._open: list[str] = []

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures so far."""
        return tuple(self._figures.values())

    @property
    def open_points(self) -> tuple[str, ...]:
        """What a person has to settle."""
        return tuple(self._open)

    def figure(
        self, file: str, pointer: str, form: str = "text", absent: str = NOT_RECORDED
    ) -> str:
        """State a value of a record.

        Parameters
        ----------
        file, pointer : str
        form : str
            ``text``, ``count``, ``share`` (per cent), ``number`` (three decimals), ``bounded`` (of
            an estimate with ends), ``day`` or ``seconds`` (of UTC epoch seconds), ``bytes``,
            ``list``, ``yes`` (yes or no).
        absent : str
            What stands there if the record has no such value.
        """
        value = self._records.find(file, pointer)
        if value is None:
            return absent
        key = (file, pointer, form)
        if key not in self._figures:
            text = _FORMS[form](value)
            self._figures[key] = Figure(len(self._figures) + 1, text, value, file, pointer)
        found = self._figures[key]
        return f"{found.text} [{found.number}]"

    def open(self, question: str) -> str:
        """State a point that no record settles; every judgement about law is one."""
        self._open.append(question)
        return f"**OPEN {len(self._open)}.** {question}"


def _bounded(value: Any) -> str:
    low, high = value.get("low", value.get("lower")), value.get("high", value.get("upper"))
    return f"{value['estimate']:.3f} ({low:.3f} to {high:.3f})"


def _day(value: Any) -> str:
    return datetime.datetime.fromtimestamp(value, datetime.UTC).strftime("%Y-%m-%d")


def _time(value: Any) -> str:
    return datetime.datetime.fromtimestamp(value, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_FORMS: Mapping[str, Callable[[Any], str]] = {
    "text": lambda value: escaped(str(value)),
    "count": lambda value: f"{value:,}",
    "share": lambda value: f"{100 * value:.2f} %",
    "number": lambda value: f"{value:.3f}",
    "bounded": _bounded,
    "day": _day,
    "seconds": _time,
    "bytes": lambda value: f"{value / 1e6:,.1f} MB",
    "yes": lambda value: "yes" if value else "no",
    "list": lambda value: ", ".join(escaped(str(each)) for each in value) or "none",
}


def escaped(text: str) -> str:
    """Return text of a record so that it is text in Markdown, whatever somebody has named a run."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~" else letter for letter in plain)
