"""One column of a source table, read as text, as numbers or as times; faults named to the cell."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray, Float64Array
from fraudfed.errors import DataError
from fraudfed.features.mapping import ColumnSource, TimeUnit
from fraudfed.reading import cells
from fraudfed.reading.cells import TextColumn, is_text
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat
from fraudfed.reading.problems import Problems, shortened

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


@dataclass(frozen=True, eq=False)
class SourceColumn:
    """A column with its name and the table that it is of.

    Attributes
    ----------
    source : str
        Where the table came from, for the error text: a file name.
    name : str
    values : chunked Arrow array of shape (n_rows,)
    file_format : FileFormat
        How texts write numbers.
    """

    source: str
    name: str
    values: pa.ChunkedArray
    file_format: FileFormat = PLAIN_CSV

    @classmethod
    def of(
        cls, table: pa.Table, name: str, *, source: str, file_format: FileFormat = PLAIN_CSV
    ) -> "SourceColumn":
        """Take a column out of a table.

        Parameters
        ----------
        table : Arrow table
        name : str
        source : str
        file_format : FileFormat
        """
        return cls(source, name, cells.plain(table[name]), file_format)

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
        self._require_readable("text or whole numbers")
        text, odd = cells.texts(self.values)
        self.refuse(odd, "text or a whole number")
        return text

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
        self._require_readable("numbers")
        # What a double cannot hold is beyond the range of every column.
        numbers, wrong = cells.numbers(self.values, self.file_format)
        self.refuse(wrong, "a number")
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
        if how.time_format is None or not is_text(kind):
            expected = "a text of time_format" if how.time_format else "time_format or time_unit"
            raise DataError(
                f"{self.source}: column {self.name!r} has type {cells.type_name(kind)}, the "
                f"mapping expects {expected}; mend the mapping"
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
        problems = Problems(self.source)
        problems.add_cells(
            "not_in_the_mapping",
            repr(self.name),
            bad,
            got=lambda row: shown_value(self.values, row),
            expected=expected,
            advice="mend the value, or map it",
        )
        problems.raise_any()

    def _epoch(self, times: pa.ChunkedArray) -> Float64Array:
        whole = pc.divide(times.cast(pa.int64()), _TICKS[times.type.unit])
        seconds: Float64Array = whole.cast(pa.float64()).to_numpy()
        return seconds

    def _require_readable(self, expected: str) -> None:
        kind = self.values.type
        if is_text(kind) or cells.is_number(kind):
            return
        problems = Problems(self.source)
        problems.add_whole(
            "wrong_type",
            repr(self.name),
            f"column {self.name!r} has type {kind}, expected {expected}; convert the column, or "
            "mend the mapping",
            expected=expected,
            advice="convert the column, or mend the mapping",
        )
        problems.raise_any()


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
