"""One column of a source table, read as text, as numbers or as times; faults named to the cell."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray, Float64Array
from fraudfed.errors import DataError
from fraudfed.features.mapping import ColumnSource, TimeUnit
from fraudfed.reading.problems import shortened

#: Arrow text, chunk by chunk; null means that there is no value. Large: a column may hold more than
#: 2 GiB.
TextColumn: TypeAlias = pa.ChunkedArray
_TEXT = pa.large_string()

#: Seconds in a unit, as numerator and denominator: dividing is exact where multiplying is not.
_SECONDS = {
    TimeUnit.MILLISECONDS: (1, 1000),
    TimeUnit.SECONDS: (1, 1),
    TimeUnit.MINUTES: (60, 1),
    TimeUnit.HOURS: (3600, 1),
    TimeUnit.DAYS: (86400, 1),
}
#: Ticks of an Arrow timestamp in a second.
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
#: A double holds every whole number up to here.
_EXACT = 1 << 53


@dataclass(frozen=True, eq=False)
class SourceColumn:
    """A column with its name and the table that it is of.

    Attributes
    ----------
    source : str
        Where the table came from, for the error text: a file name.
    name : str
    values : chunked Arrow array of shape (n_rows,)
    """

    source: str
    name: str
    values: pa.ChunkedArray

    @classmethod
    def of(cls, table: pa.Table, name: str, *, source: str) -> "SourceColumn":
        """Take a column out of a table.

        Parameters
        ----------
        table : Arrow table
        name : str
        source : str
        """
        values = table[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        return cls(source, name, values)

    def text(self) -> TextColumn:
        """Return texts; an empty one counts as missing, a whole number is as it is printed.

        Returns
        -------
        chunked Arrow array of shape (n_rows,), of large strings

        Raises
        ------
        DataError
            If the column holds anything but text, whole numbers, booleans or nothing.
        """
        kind = self.values.type
        if pa.types.is_floating(kind):
            # Identifiers become floats where pandas met one that was missing.
            numbers = self.numbers()
            known = ~np.isnan(numbers)
            odd = known & ~((numbers == np.floor(numbers)) & (np.abs(numbers) <= _EXACT))
            self.refuse(odd, "text or a whole number")
            whole = pa.array(np.where(known, numbers, 0), mask=~known).cast(pa.int64())
            return pa.chunked_array([whole.cast(_TEXT)])
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
            return self.values.cast(_TEXT)
        if not _is_text(kind):
            raise self._wrong_type("text or whole numbers")
        text = self.values.cast(_TEXT)
        return pc.if_else(pc.equal(text, ""), None, text)

    def numbers(self) -> Float64Array:
        """Return numbers, NaN where there is none.

        Returns
        -------
        ndarray of shape (n_rows,), dtype=float64

        Raises
        ------
        DataError
            If the column holds anything else, or a text that is not a number.
        """
        kind, values = self.values.type, self.values
        if _is_text(kind):
            values = self._parsed_numbers()
        elif pa.types.is_boolean(kind):
            values = values.cast(pa.uint8())
        elif not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_null(kind)
        ):
            raise self._wrong_type("numbers")
        # Not safe: what a double cannot hold is beyond the range of every column.
        numbers: Float64Array = values.cast(pa.float64(), safe=False).to_numpy()
        return numbers

    def seconds(self, how: ColumnSource) -> Float64Array:
        """Return UTC epoch seconds, whole and rounded down, NaN where there is no value.

        Parameters
        ----------
        how : ColumnSource
            Says how text and numbers are read; a timestamp or a date needs nothing.

        Returns
        -------
        ndarray of shape (n_rows,), dtype=float64

        Raises
        ------
        DataError
            If ``how`` does not say it, or a text is not of its form.
        """
        kind = self.values.type
        if pa.types.is_date(kind):
            return self._epoch(self.values.cast(pa.timestamp("s")))
        if pa.types.is_timestamp(kind):
            return self._epoch(self.values)
        if how.time_unit is not None:
            numerator, denominator = _SECONDS[how.time_unit]
            return np.floor(self.numbers() * numerator / denominator) + how.since_seconds
        if how.time_format is None or not _is_text(kind):
            expected = "a text of time_format" if how.time_format else "time_format or time_unit"
            raise DataError(
                f"{self.source}: column {self.name!r} has type {kind}, the mapping expects "
                f"{expected}; mend the mapping"
            )
        text = self.text()
        parsed = pc.strptime(text, format=how.time_format, unit="s", error_is_null=True)
        wrong = pc.and_(pc.is_valid(text), pc.is_null(parsed)).to_numpy().astype(np.bool_)
        wrong |= _impossible_days(text, parsed, how.time_format)
        self.refuse(wrong, f"a time as {how.time_format!r}")
        return self._epoch(parsed)

    def refuse(self, bad: BoolArray, expected: str) -> None:
        """Refuse the first row of ``bad``, if there is one.

        Parameters
        ----------
        bad : ndarray of shape (n_rows,), dtype=bool
        expected : str
            What should stand there, for the error text.

        Raises
        ------
        DataError
        """
        if not bad.any():
            return
        row = int(np.argmax(bad))
        got = shown_value(self.values, row)
        count = int(np.count_nonzero(bad))
        more = f" ({count - 1} more rows)" if count > 1 else ""
        raise DataError(
            f"{self.source}: row {row + 1}, column {self.name!r}: got {got}, expected "
            f"{expected}{more}; mend the value, or map it"
        )

    def _parsed_numbers(self) -> pa.ChunkedArray:
        text = pc.utf8_trim_whitespace(self.text())
        try:
            return text.cast(pa.float64())
        except pa.ArrowInvalid:
            wrong = [value is not None and not _is_number(value) for value in text.to_pylist()]
            self.refuse(np.array(wrong, dtype=np.bool_), "a number")
            raise

    def _epoch(self, times: pa.ChunkedArray) -> Float64Array:
        whole = pc.divide(times.cast(pa.int64()), _TICKS[times.type.unit])
        seconds: Float64Array = whole.cast(pa.float64()).to_numpy()
        return seconds

    def _wrong_type(self, expected: str) -> DataError:
        return DataError(
            f"{self.source}: column {self.name!r} has type {self.values.type}, expected "
            f"{expected}; convert the column, or mend the mapping"
        )


def shown_value(values: pa.ChunkedArray, row: int) -> str:
    """Return a value as an error message shows it, shortened.

    Parameters
    ----------
    values : chunked Arrow array of shape (n_rows,)
    row : int
    """
    return shortened(repr(values[row].as_py()))


def _impossible_days(text: TextColumn, parsed: pa.ChunkedArray, time_format: str) -> BoolArray:
    """Find the 30th of February and its like, which Arrow reads as days of the next month."""
    wrong = np.zeros(len(text), dtype=np.bool_)
    # At most three days too many: only the first three of a month can be meant.
    rows = np.flatnonzero(pc.fill_null(pc.less_equal(pc.day(parsed), 3), False).to_numpy())
    same = pc.equal(pc.strftime(parsed.take(rows), format=time_format), text.take(rows))
    for row in rows[~same.to_numpy().astype(np.bool_)]:
        try:
            datetime.strptime(text[int(row)].as_py(), time_format)
        except ValueError:
            wrong[row] = True
    return wrong


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
