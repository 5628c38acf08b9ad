"""Texts of times, read as a format says: its letters, and whole columns read by them.

The letters are those of Python's ``datetime.strptime`` that mean the same on every machine; the
table of docs/features.md lists them. Law: a text that Python reads is read here to the same second,
rounded down, and one that Python refuses is refused. Exceptions, all of them written by database
systems: ``%f`` takes up to nine digits, and ``%z`` an offset of hours alone (``+02``). ``%j`` takes
day 366 in leap years only, and digits are those of ASCII.

Fields of which each has its full width, as programs write them, are read by position; other texts
by a regular expression. Both give numbers, of which one function makes seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray, Int64Array

_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"


def _names(text: str, letters: int | None = None) -> tuple[str, ...]:
    return tuple(name[:letters] for name in text.split())


@dataclass(frozen=True)
class _Letter:
    """What one letter reads.

    Attributes
    ----------
    pattern : str
        Regular expression; for numbers that of CPython 3.11's ``_strptime.TimeRE``.
    width : int or None
        Digits if it is a number that programs pad with zeros; None for everything else.
    names : tuple of str
        What stands for 1, 2 and so on, in small letters.
    """

    pattern: str
    width: int | None = None
    names: tuple[str, ...] = ()


def _choice(names: tuple[str, ...]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


_LETTERS: Final[Mapping[str, _Letter]] = {
    "Y": _Letter(r"[0-9]{4}", 4),
    "y": _Letter(r"[0-9]{2}", 2),
    "m": _Letter(r"1[0-2]|0[1-9]|[1-9]", 2),
    "d": _Letter(r"3[0-1]|[1-2][0-9]|0[1-9]|[1-9]| [1-9]", 2),
    "j": _Letter(
        r"36[0-6]|3[0-5][0-9]|[1-2][0-9]{2}|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9]", 3
    ),
    "H": _Letter(r"2[0-3]|[0-1][0-9]|[0-9]", 2),
    "I": _Letter(r"1[0-2]|0[1-9]|[1-9]", 2),
    "M": _Letter(r"[0-5][0-9]|[0-9]", 2),
    "S": _Letter(r"6[0-1]|[0-5][0-9]|[0-9]", 2),
    "f": _Letter(r"[0-9]{1,9}"),
    "b": _Letter(_choice(_names(_MONTHS, 3)), names=_names(_MONTHS, 3)),
    "B": _Letter(_choice(_names(_MONTHS)), names=_names(_MONTHS)),
    "a": _Letter(_choice(_names(_DAYS, 3))),
    "A": _Letter(_choice(_names(_DAYS))),
    "p": _Letter("am|pm", names=("am", "pm")),
    "z": _Letter(
        r"(?-i:Z)|[+-][0-9]{2}:[0-5][0-9](?::[0-5][0-9])?|[+-][0-9]{2}(?:[0-5][0-9](?:[0-5][0-9])?)?"
    ),
    "Z": _Letter(r"[A-Z][A-Z0-9_+-]*(?:/[A-Z0-9_+-]+)*"),
}
#: Letters that strptime or other programs know and that are refused, with what to do instead.
_REFUSED: Final[Mapping[str, str]] = {
    "c": "it depends on the machine's language; write the fields one by one",
    "x": "it depends on the machine's language; write the fields one by one",
    "X": "it depends on the machine's language; write the fields one by one",
    "T": "write %H:%M:%S",
    "R": "write %H:%M",
    "F": "write %Y-%m-%d",
    "D": "write %m/%d/%y",
    "e": "write %d, which reads days without a zero too",
    "s": 'give time_unit = "seconds" instead of time_format',
    "n": "write a blank, which reads any white space",
    "t": "write a blank, which reads any white space",
    "h": "write %b",
    "k": "write %H, which reads hours without a zero too",
    "l": "write %I, which reads hours without a zero too",
    "P": "write %p, which reads small letters too",
    "-": "leave the '-' out: numbers are read with and without zeros in front",
    "U": "weeks of a year say no day; give the month and the day",
    "W": "weeks of a year say no day; give the month and the day",
    "w": "a day of the week says no date; leave it out or give it as %a or %A",
    "u": "a day of the week says no date; leave it out or give it as %a or %A",
    "G": "ISO weeks are not read; give the month and the day",
    "V": "ISO weeks are not read; give the month and the day",
    "C": "write %Y",
    "L": "write %f for fractions of a second",
    "N": "write %f for fractions of a second",
}
#: Letters of which at most one may stand in a format.
_ONE_OF: Final = (
    ("Y", "y"),
    ("m", "b", "B", "j"),
    ("d", "j"),
    ("H", "I"),
    ("a", "A"),
    ("z", "Z"),
)
#: What needs what: a letter without the others would leave the time open.
_NEEDS: Final = (
    ("M", "HI"),
    ("S", "M"),
    ("f", "S"),
    ("I", "p"),
    ("p", "I"),
    ("z", "HI"),
    ("Z", "HI"),
)

#: Years 1 to 9999, as Python has them.
_FIRST_YEAR = 1


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read in the rows of a column.

    Attributes
    ----------
    local : ndarray of shape (n_rows,), dtype=int64
        Seconds since 1970-01-01 00:00 by the clock that the text is of, rounded down; 0 where
        there is nothing.
    known : ndarray of shape (n_rows,), dtype=bool
        Rows in which a time was read.
    wrong : ndarray of shape (n_rows,), dtype=bool
        Rows that hold a text, and no time of the format.
    offset : ndarray of shape (n_rows,), dtype=int64, or None
        Seconds that the clock is ahead of UTC; None where the format has no ``%z``.
    zones : Arrow array of shape (n_rows,), of large strings, or None
        Names of zones as they are written; None where the format has no ``%Z``.
    """

    local: Int64Array
    known: BoolArray
    wrong: BoolArray
    offset: Int64Array | None
    zones: pa.Array | None


@dataclass(frozen=True)
class TimeFormat:
    """A format that has been understood.

    Attributes
    ----------
    text : str
        As it was given.
    parts : tuple of str
        Letters with their percent sign, and literal characters; white space of any length is one
        blank.
    """

    text: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "TimeFormat":
        """Understand a format.

        Raises
        ------
        ValueError
            If a letter is unknown, ambiguous, or not enough for a date.
        """
        parts = _split(text)
        letters = [part[1] for part in parts if len(part) == 2 and part != "%%"]
        for letter in letters:
            if letters.count(letter) > 1:
                raise ValueError(f"got %{letter} twice in {text!r}, expected it once")
        for group in _ONE_OF:
            both = [f"%{letter}" for letter in letters if letter in group]
            if len(both) > 1:
                raise ValueError(
                    f"got {' and '.join(both)} in {text!r}, expected one of them; both say the same"
                )
        has_day = "j" in letters or ("d" in letters and {"m", "b", "B"} & set(letters))
        if not has_day or not {"Y", "y"} & set(letters):
            raise ValueError(
                f"got {text!r}, expected a whole date: %Y, %m and %d, or letters that mean the same"
            )
        for letter, needed in _NEEDS:
            if letter in letters and not set(needed) & set(letters):
                raise ValueError(
                    f"got %{letter} without {' or '.join(f'%{other}' for other in needed)} in "
                    f"{text!r}, expected both"
                )
        return cls(text, parts)

    @property
    def letters(self) -> tuple[str, ...]:
        """Letters of the format, in order."""
        return tuple(part[1] for part in self.parts if len(part) == 2 and part != "%%")

    def read(self, texts: pa.ChunkedArray) -> Readings:
        """Read a column.

        Parameters
        ----------
        texts : chunked Arrow array of shape (n_rows,), of large strings
            Null where there is no value.
        """
        whole = texts.combine_chunks()
        present = whole.is_valid().to_numpy(zero_copy_only=False)
        fields = {letter: np.zeros(len(whole), dtype=np.int64) for letter in self.letters}
        known = np.zeros(len(whole), dtype=np.bool_)
        self._read_by_position(whole, present, fields, known)
        rest = np.flatnonzero(present & ~known)
        zones: pa.Array | None = None
        if rest.size:
            matched, found = self._read_by_pattern(whole.take(pa.array(rest)), fields, rest)
            known[rest] = matched
            if found is not None:
                chosen = np.zeros(len(whole), dtype=np.bool_)
                chosen[rest] = True
                nothing = pa.nulls(len(whole), pa.large_string())
                zones = pc.replace_with_mask(nothing, pa.array(chosen), found)
        local, possible = _seconds(fields, known)
        known &= possible
        local[~known] = 0
        if "Z" in self.letters and zones is None:
            zones = pa.nulls(len(whole), pa.large_string())
        return Readings(local, known, present & ~known, fields.get("z"), zones)

    def _read_by_position(
        self, texts: pa.Array, present: BoolArray, fields: dict[str, Int64Array], known: BoolArray
    ) -> None:
        """Read the texts whose numbers all have their full width."""
        widths = [
            1 if len(part) == 1 or part == "%%" else _LETTERS[part[1]].width for part in self.parts
        ]
        open_ended = [index for index, width in enumerate(widths) if width is None]
        if any(self.parts[index] != "%f" for index in open_ended) or not len(texts):
            return
        fixed = sum(width for width in widths if width is not None)
        content, starts, lengths = _bytes_of(texts)
        for digits in range(1, 10) if open_ended else (0,):
            rows = np.flatnonzero(present & (lengths == fixed + digits))
            if rows.size == 0:
                continue
            width = fixed + digits
            if rows.size == len(texts):
                # All of one length, and so side by side.
                cells = content[starts[0] : starts[0] + rows.size * width].reshape(-1, width)
            else:
                cells = content[starts[rows][:, None] + np.arange(width)]
            good, place = np.ones(len(rows), dtype=np.bool_), 0
            found: dict[str, Int64Array] = {}
            for part, part_width in zip(self.parts, widths, strict=True):
                stop = place + (digits if part_width is None else part_width)
                if len(part) == 1 or part == "%%":
                    good &= cells[:, place] == ord(part[0]) if part.isascii() else False
                else:
                    value = np.zeros(len(rows), dtype=np.int64)
                    for column in range(place, stop):
                        # Unsigned: what is below "0" becomes large.
                        digit = cells[:, column] - np.uint8(ord("0"))
                        good &= digit <= 9
                        value = value * 10 + digit
                    found[part[1]] = value
                place = stop
            for letter, values in found.items():
                fields[letter][rows[good]] = values[good]
            known[rows[good]] = True
        # What is out of its range may still be read otherwise, if not all numbers have full width.
        known &= _in_range(fields)

    def _read_by_pattern(
        self, texts: pa.Array, fields: dict[str, Int64Array], rows: Int64Array
    ) -> tuple[BoolArray, pa.Array | None]:
        """Read texts by a regular expression, into ``rows`` of the fields."""
        found = pc.extract_regex(texts, self._pattern())
        matched: BoolArray = found.is_valid().to_numpy(zero_copy_only=False).astype(np.bool_)
        zones: pa.Array | None = None
        for letter in self.letters:
            values = pc.struct_field(found, letter)
            if letter == "Z":
                zones = values
            elif letter not in "aA":
                fields[letter][rows] = _numbers(letter, pc.utf8_upper(values))
        return matched, zones

    def _pattern(self) -> str:
        """Return a regular expression (RE2) with a group for each letter."""
        pieces = []
        for part in self.parts:
            if part == " ":
                pieces.append(r"\s+")
            elif part == "%%":
                pieces.append("%")
            elif len(part) == 1:
                pieces.append(re.escape(part))
            else:
                pieces.append(f"(?P<{part[1]}>{_LETTERS[part[1]].pattern})")
        return f"(?i)^{''.join(pieces)}$"


def _split(text: str) -> tuple[str, ...]:
    parts = []
    rest = iter(re.sub(r"\s+", " ", text))
    for character in rest:
        if character != "%":
            parts.append(character)
            continue
        letter = next(rest, None)
        if letter is None:
            raise ValueError(f"got a single % at the end of {text!r}, expected a letter after it")
        if letter != "%" and letter not in _LETTERS:
            advice = _REFUSED.get(letter, f"the letters are {', '.join(f'%{x}' for x in _LETTERS)}")
            raise ValueError(f"got %{letter} in {text!r}, expected a letter that is read; {advice}")
        parts.append(f"%{letter}")
    return tuple(parts)


def _bytes_of(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], Int64Array, Int64Array]:
    """Return the bytes of large strings, and where each starts and how many it has."""
    _, offsets_buffer, bytes_buffer = texts.buffers()
    bounds = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(bytes_buffer or b"", np.uint8)
    return content, bounds[:-1], np.diff(bounds)


def _numbers(letter: str, texts: pa.Array) -> Int64Array:
    """Return what a letter's texts count, 0 for a null; fractions are put aside."""
    names = _LETTERS[letter].names
    if names:
        index = pc.index_in(texts, value_set=pa.array([name.upper() for name in names]))
        found = pc.add(pc.fill_null(index, -1), 1)
    elif letter == "z":
        return _offsets(texts)
    else:
        found = pc.fill_null(pc.utf8_trim_whitespace(texts).cast(pa.int64()), 0)
    numbers: Int64Array = found.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _offsets(texts: pa.Array) -> Int64Array:
    """Return offsets in seconds; there are few different ones."""
    encoded = texts.dictionary_encode()
    found = [_offset(text) for text in encoded.dictionary.to_pylist()]
    places = pc.fill_null(encoded.indices, len(found)).to_numpy(zero_copy_only=False)
    offsets: Int64Array = np.array([*found, 0], dtype=np.int64)[places]
    return offsets


def _offset(text: str) -> int:
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:])
    return -seconds if text[0] == "-" else seconds


#: Range of each number; days of the month are looked at with year and month.
_RANGES: Final = {
    "m": (1, 12),
    "b": (1, 12),
    "B": (1, 12),
    "d": (1, 31),
    "j": (1, 366),
    "H": (0, 23),
    "I": (1, 12),
    "M": (0, 59),
    "S": (0, 59),
    # An offset is less than a day.
    "z": (-86_399, 86_399),
}


def _in_range(fields: Mapping[str, Int64Array]) -> BoolArray:
    """Tell in which rows every number is within its range."""
    size = len(next(iter(fields.values())))
    good: BoolArray = np.ones(size, dtype=np.bool_)
    for letter, (low, high) in _RANGES.items():
        if letter in fields:
            good &= (fields[letter] >= low) & (fields[letter] <= high)
    return good


def _seconds(fields: Mapping[str, Int64Array], known: BoolArray) -> tuple[Int64Array, BoolArray]:
    """Return local seconds since 1970, and where the fields name a day that there is."""
    possible = _in_range(fields)
    year = fields["Y"] if "Y" in fields else _whole_years(fields["y"])
    possible &= (year >= _FIRST_YEAR) | ~known
    one = np.ones_like(year)
    if "j" in fields:
        start = _days(year, one, one)
        days = start + fields["j"] - 1
        possible &= days < _days(year + 1, one, one)
    else:
        month = next(fields[letter] for letter in "mbB" if letter in fields)
        days = _days(year, month, fields["d"])
        after = _days(year + month // 12, month % 12 + 1, one)
        possible &= days < after
    hour = fields.get("H")
    if hour is None:
        hour = fields["I"] % 12 + 12 * (fields["p"] - 1) if "I" in fields else np.zeros_like(year)
    seconds = days * 86_400 + hour * 3600
    for letter, size in (("M", 60), ("S", 1)):
        if letter in fields:
            seconds += fields[letter] * size
    return seconds, possible


def _whole_years(years: Int64Array) -> Int64Array:
    """Return years of two digits as POSIX reads them: 69 to 99 are of the 20th century."""
    whole: Int64Array = np.where(years >= 69, years + 1900, years + 2000)
    return whole


def _days(year: Int64Array, month: Int64Array, day: Int64Array) -> Int64Array:
    """Return days since 1970-01-01 in the Gregorian calendar.

    H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil: years begin in
    March, so that the leap day is the last of its year.
    """
    year = year - (month <= 2)
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    days: Int64Array = era * 146_097 + day_of_era - 719_468
    return days
