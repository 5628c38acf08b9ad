"""One column of a source table, read as text, as numbers or as times; faults named to the cell."""

from dataclasses import dataclass

import pyarrow as pa

from fraudfed.dtypes import BoolArray, Float64Array
from fraudfed.features.identifiers import CanonicalColumn, IdentifierKind, read_identifiers
from fraudfed.features.mappings.mapping import ColumnSource
from fraudfed.features.mappings.source_time import accepts, read_times
from fraudfed.reading import cells
from fraudfed.reading.cells import TextColumn, is_text
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat
from fraudfed.reading.problems import Problems, shortened


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
        expected = accepts(self.values.type, how)
        if expected is not None:
            problems = Problems(self.source)
            problems.add_whole(
                "wrong_type",
                repr(self.name),
                f"column {self.name!r} has type {cells.type_name(self.values.type)}, the mapping "
                f"expects {expected}; mend the mapping",
                expected=expected,
                advice="mend the mapping",
            )
            problems.raise_any()
        found = read_times(self.values, how, self.file_format)
        problems = Problems(self.source)
        for fault in found.faults:
            self._add(problems, fault.kind, fault.bad, fault.expected, fault.advice)
        problems.raise_any()
        return found.as_floats()

    def identifiers(self, kind: IdentifierKind) -> CanonicalColumn:
        """Return identifiers in canonical form.

        Parameters
        ----------
        kind : IdentifierKind

        Raises
        ------
        DataError
            If the column holds anything but texts and whole numbers, or a number that has lost
            digits.
        """
        self._require_readable("text or whole numbers")
        read = read_identifiers(self.values, kind)
        problems = Problems(self.source)
        for fault in read.faults:
            self._add(problems, fault.kind, fault.bad, fault.expected, fault.advice)
        problems.raise_any()
        return read.column

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
        self._add(problems, "not_in_the_mapping", bad, expected, "mend the value, or map it")
        problems.raise_any()

    def _add(
        self, problems: Problems, kind: str, bad: BoolArray, expected: str, advice: str
    ) -> None:
        problems.add_cells(
            kind,
            repr(self.name),
            bad,
            got=lambda row: shown_value(self.values, row),
            expected=expected,
            advice=advice,
        )

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
    try:
        return shortened(cells.shown(values, row))
    except (OverflowError, ValueError):
        # A time beyond the years that Python knows: as the file counts it.
        return shortened(f"{values.type} {values[row].value}")
