"""Everything that is wrong with a file, collected before anything is said of it.

A kind of fault in one column is one :class:`Problem`: how many cells have it, and the first ten of
them. What reads a file adds its problems and continues; at the end there is either nothing, or one
error that holds all of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from fraudfed.dtypes import BoolArray
from fraudfed.errors import DataError

#: Cells of a problem that are told one by one; the others are counted.
MOST_CELLS = 10
#: Longest piece of a value that an error message repeats.
_SHOWN_CHARACTERS = 80


class Placed(NamedTuple):
    """Where a row is.

    Attributes
    ----------
    file : str or None
        Which of several files; None where there is one.
    row : int
        Of that file, counted from 0.
    line : int or None
        Of a CSV file: in which the row begins.
    """

    file: str | None
    row: int
    line: int | None


#: Where each of some rows, counted from 0, is.
Places = Callable[[Sequence[int]], Sequence[Placed]]


@dataclass(frozen=True)
class Cell:
    """One value that is wrong.

    Attributes
    ----------
    row : int
        Counted from 1, without the header; of its file, where there are several.
    line : int or None
        Of a CSV file, from 1 with the header; None for Parquet.
    got : str
        The value, shortened.
    origin : str or None
        What it was made of, if it is not the file's own: a column and its value.
    file : str or None
        Which of several files; None where there is one.
    """

    row: int
    line: int | None
    got: str
    origin: str | None = None
    file: str | None = None

    @property
    def place(self) -> str:
        """``row 7 (line 8)`` in CSV, ``row 7`` in Parquet; of several files it says which."""
        row = f"row {self.row}" + ("" if self.line is None else f" (line {self.line})")
        return row if self.file is None else f"{self.file}: {row}"


@dataclass(frozen=True)
class Problem:
    """One kind of fault in one column, or of the whole file.

    Attributes
    ----------
    kind : str
        A word for programs: ``not_a_number``, ``missing_value``, ...
    column : str or None
        As messages name it, in quotes; None for the whole file.
    count : int
        Cells that have it; 1 for a fault of the whole column or file.
    cells : tuple of Cell
        The first of them, at most ``MOST_CELLS``; none for a fault of the whole column or file.
    expected : str
    advice : str
        What to do.
    sentence : str or None
        Says what is wrong where no cells do; advice included.
    check : tuple of int
        Which check found it (``Problems.begin``); says nothing of the problem itself.
    """

    kind: str
    column: str | None
    count: int
    cells: tuple[Cell, ...]
    expected: str
    advice: str
    sentence: str | None = None
    check: tuple[int, ...] = field(default=(), compare=False)

    @property
    def text(self) -> str:
        """One line: the first place, what was got and expected, how many more, and the advice."""
        if not self.cells:
            return str(self.sentence)
        first = self.cells[0]
        where = first.place if self.column is None else f"{first.place}, column {self.column}"
        if first.origin is not None:
            where += f" (from {first.origin})"
        left = self.count - 1
        more = f" (and {left} more row{'s' if left > 1 else ''})" if left else ""
        return f"{where}: got {first.got}, expected {self.expected}{more}; {self.advice}"


class ProblemsError(DataError):
    """A file with problems; the message is the first of them, and how many more there are.

    Attributes
    ----------
    summary : str
        The message without what shows all problems.
    source : str
        The file.
    problems : tuple of Problem
    """

    def __init__(
        self,
        summary: str,
        *,
        source: str = "",
        problems: Sequence[Problem] = (),
        where_all: str | None = None,
    ) -> None:
        super().__init__(summary if where_all is None else f"{summary}: {where_all}")
        self.summary = summary
        self.source = source
        self.problems = tuple(problems)


class Problems:
    """What was found in one file so far.

    Parameters
    ----------
    source : str
        Where the rows came from, for the error text: a file name.
    places : callable or None
        Tells where rows are, if their number does not say all of it.
    where_all : str or None
        For the error text: what shows all problems.
    """

    def __init__(
        self, source: str, *, places: Places | None = None, where_all: str | None = None
    ) -> None:
        self.source = source
        self._places = places
        self._n_placed = 0
        self._where_all = where_all
        self._found: list[Problem] = []
        self._check: tuple[int, ...] = ()
        self._begun: tuple[int, ...] = ()
        #: How the texts of a column of numbers were read, and where first.
        self._readings: dict[str, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def begin(self, *check: int) -> None:
        """Say which check comes now, so that problems of pieces can stand in the order of checks.

        Parameters
        ----------
        *check : int
            Checks of one file come in ascending order; those with the same number stay in the order
            in which they were added.
        """
        self._check = check
        self._begun = check

    def then(self, step: int) -> None:
        """Say which part of the check comes now; the parts before have lower numbers."""
        self._check = (*self._begun, step)

    def add_cells(
        self,
        kind: str,
        column: str | None,
        bad: BoolArray,
        *,
        got: Callable[[int], str],
        expected: str,
        advice: str,
        origin: Callable[[int], str | None] | None = None,
    ) -> None:
        """Add a problem of some rows; does nothing if there are none.

        Parameters
        ----------
        kind : str
        column : str or None
            In quotes, as messages name it.
        bad : ndarray of shape (n_rows,), dtype=bool
            The rows that have it.
        got : callable
            Says what stands in a row, counted from 0.
        expected, advice : str
        origin : callable or None
            Says what the value of a row, counted from 0, was made of.
        """
        count = int(np.count_nonzero(bad))
        if not count:
            return
        # Not all of them are looked for: a column may be wrong in millions of rows.
        first = np.flatnonzero(bad)[:MOST_CELLS].tolist()
        cells = tuple(
            Cell(row + 1, None, shortened(got(row)), None if origin is None else origin(row))
            for row in first
        )
        self._found.append(Problem(kind, column, count, cells, expected, advice, check=self._check))

    def add_whole(
        self, kind: str, column: str | None, sentence: str, *, expected: str = "", advice: str = ""
    ) -> None:
        """Add a problem of a whole column, or of the file."""
        self._found.append(
            Problem(kind, column, 1, (), expected, advice, sentence, check=self._check)
        )

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add what was found elsewhere in the same rows."""
        self._found.extend(problems)

    def note_reading(self, column: str, how: str, *, of: str | None = None) -> None:
        """Note as what the texts of a column were read; a problem if it was another before.

        What a text means as a number depends on all of its column: ``true`` is 1 where every text
        is a truth value, and wrong among numbers. Rows that are read piece by piece must agree.

        Parameters
        ----------
        column : str
            In quotes, as messages name it.
        how : str
            ``numbers`` or ``truth values``.
        of : str or None
            Where, if not in this source.
        """
        place = self.source if of is None else of
        before, where = self._readings.setdefault(column, (how, place))
        if before == how:
            return
        text = f"one of them in column {column}"
        sentence = f"column {column} holds {how} in {place}, and {before} in {where}; write numbers"
        if all(known.sentence != sentence for known in self._found):
            self.add_whole(
                "not_a_number", column, sentence, expected=text, advice="write numbers everywhere"
            )

    @property
    def readings(self) -> dict[str, tuple[str, str]]:
        """As what each column of numbers was read, and where first; for ``note_readings``."""
        return dict(self._readings)

    def note_readings(self, readings: Mapping[str, tuple[str, str]]) -> None:
        """Note as what the columns of a part were read, as ``note_reading`` does."""
        for column, (how, where) in readings.items():
            self.note_reading(column, how, of=where)

    def absorb(self, piece: "Problems", *, names_file: bool = False, rows_before: int = 0) -> None:
        """Add what was found in some of the rows, as if all had been looked at together.

        Parameters
        ----------
        piece : Problems
        names_file : bool
            Whether each cell says in which file it is.
        rows_before : int
            Rows before those of the piece's file, where a cell does not say in which file it is.
        """
        self.note_readings(piece.readings)
        for new in piece.all():
            cells = new.cells
            if names_file:
                cells = tuple(replace(c, file=c.file or piece.source) for c in cells)
            elif rows_before:
                cells = tuple(replace(c, row=c.row + rows_before) for c in cells)
            self._absorb(replace(new, cells=cells))

    def _absorb(self, new: Problem) -> None:
        def identity(problem: Problem) -> tuple[object, ...]:
            told = (problem.kind, problem.column, problem.expected, problem.advice)
            return (*told, problem.sentence, bool(problem.cells))

        for place, known in enumerate(self._found):
            if identity(known) != identity(new):
                continue
            if known.cells:
                cells = (*known.cells, *new.cells)[:MOST_CELLS]
                self._found[place] = replace(known, count=known.count + new.count, cells=cells)
            return
        self._found.append(new)

    def placed(self) -> "Problems":
        """Return the same without what tells places, which are known: small, and may be pickled."""
        found = Problems(self.source, where_all=self._where_all)
        found._found, found._readings = list(self.all()), self._readings
        found._n_placed = len(found._found)
        return found

    def recount(self, kind: str, count: int) -> None:
        """Say how many cells have a problem of a kind, of which only the first were added."""
        self._found = [
            replace(each, count=count) if each.kind == kind else each for each in self._found
        ]

    def keep(self, wanted: Callable[[Problem], bool]) -> None:
        """Leave out problems that nobody would have looked for, and sort the others by check."""
        self._found = sorted(filter(wanted, self.all()), key=lambda problem: problem.check)
        self._n_placed = len(self._found)

    def take(self, error: DataError) -> None:
        """Add what was raised over the same rows."""
        if isinstance(error, ProblemsError) and error.problems:
            self._found += [replace(each, check=self._check) for each in error.problems]
        else:
            self.add_whole("refused", None, str(error).removeprefix(f"{self.source}: "))

    def all(self) -> tuple[Problem, ...]:
        """Return every problem in the order in which they were found, with the places of cells."""
        new = self._found[self._n_placed :]
        rows = sorted({c.row for problem in new for c in problem.cells if c.line is None})
        if self._places is not None and rows:
            placed = self._places([row - 1 for row in rows])
            where = dict(zip(rows, placed, strict=True))
            self._found[self._n_placed :] = [
                replace(problem, cells=tuple(_at(c, where.get(c.row)) for c in problem.cells))
                for problem in new
            ]
        self._n_placed = len(self._found)
        return tuple(self._found)

    def raise_any(self) -> None:
        """Raise one error if there is any problem.

        Raises
        ------
        ProblemsError
            With all of them; the message is the first.
        """
        if not self._found:
            return
        found = self.all()
        summary = f"{self.source}: {found[0].text}"
        left = len(found) - 1
        if left:
            summary += f"; {left} more problem{'s' if left > 1 else ''} in the file"
        raise ProblemsError(
            summary,
            source=self.source,
            problems=found,
            where_all=self._where_all if left else None,
        )


def _at(cell: Cell, place: Placed | None) -> Cell:
    if cell.line is not None or cell.file is not None or place is None:
        return cell
    return replace(cell, file=place.file, row=place.row + 1, line=place.line)


def shortened(text: str) -> str:
    """Return a piece of data on one line and no longer than an error message can bear."""
    one_line = " ".join(text.split())
    if len(one_line) <= _SHOWN_CHARACTERS:
        return one_line
    return one_line[: _SHOWN_CHARACTERS - 3] + "..."
