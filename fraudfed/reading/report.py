"""All problems of a file as commands show them, to people and as JSON."""

from collections import Counter

from fraudfed.console import Answer
from fraudfed.reading.problems import MOST_CELLS, Problem, ProblemsError

#: Problems of one kind that are listed, column by column; the others are counted.
MOST_COLUMNS = MOST_CELLS


class ProblemCell(Answer):
    """One value that is wrong.

    Attributes
    ----------
    row : int
        Counted from 1, without the header; of its file, where there are several.
    line : int or None
        Of a CSV file, from 1 with the header.
    got : str
        What stands there, shortened.
    origin : str or None
        Column and value that it was made of, where a mapping made it.
    file : str or None
        Which of several files; None where there is one.
    """

    row: int
    line: int | None
    got: str
    origin: str | None
    file: str | None = None


class DataProblem(Answer):
    """One kind of fault in one column, or of the whole file.

    Attributes
    ----------
    kind : str
        ``missing_column``, ``repeated_column``, ``wrong_type``, ``not_a_number``,
        ``missing_value``, ``unknown_category``, ...
    column : str or None
        As messages name it; None for the whole file.
    count : int
        Cells that have it; 1 for a fault of the whole column or file.
    cells : tuple of ProblemCell
        The first ten.
    expected, advice : str
    text : str
        All of it in one line, with the first cell.
    """

    kind: str
    column: str | None
    count: int
    cells: tuple[ProblemCell, ...]
    expected: str
    advice: str
    text: str


class ProblemReport(Answer):
    """Everything that is wrong with a file.

    Attributes
    ----------
    path : str
    summary : str
        The first problem, and how many more there are.
    counts : dict of str to int
        Cells, or columns, by kind of problem.
    problems : tuple of DataProblem
        Of each kind, those of the first ten columns.
    left_out : int
        Problems that are not in ``problems``.
    """

    path: str
    summary: str
    counts: dict[str, int]
    problems: tuple[DataProblem, ...]
    left_out: int = 0


def report_of(error: ProblemsError) -> ProblemReport:
    """Return what an error holds, ready to be shown.

    Parameters
    ----------
    error : ProblemsError
    """
    counts: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    shown = []
    for problem in error.problems:
        counts[problem.kind] += problem.count
        seen[problem.kind] += 1
        if seen[problem.kind] <= MOST_COLUMNS:
            shown.append(_data_problem(problem))
    return ProblemReport(
        path=error.source,
        summary=error.summary,
        counts=dict(counts),
        problems=tuple(shown),
        left_out=len(error.problems) - len(shown),
    )


def report_lines(report: ProblemReport) -> list[str]:
    """Return a report as lines of text.

    Parameters
    ----------
    report : ProblemReport
    """
    counts = ", ".join(f"{_words(kind)} {count:,}" for kind, count in report.counts.items())
    lines = [f"{report.path}: problems found: {counts}"]
    for problem in report.problems:
        if not problem.cells:
            lines.append(f"  {problem.text}")
            continue
        where = "" if problem.column is None else f"column {problem.column}, "
        rows = "1 row" if problem.count == 1 else f"{problem.count:,} rows"
        lines.append(f"  {where}{rows}: expected {problem.expected}; {problem.advice}")
        lines.extend(f"    {_cell_line(cell)}" for cell in problem.cells)
        left = problem.count - len(problem.cells)
        if left:
            lines.append(f"    and {left:,} more")
    if report.left_out:
        lines.append(f"  and {report.left_out:,} more of these kinds in other columns")
    return lines


def _cell_line(cell: ProblemCell) -> str:
    line = "" if cell.line is None else f" (line {cell.line})"
    origin = "" if cell.origin is None else f", from {cell.origin}"
    file = "" if cell.file is None else f"{cell.file}: "
    return f"{file}row {cell.row}{line}: {cell.got}{origin}"


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _data_problem(problem: Problem) -> DataProblem:
    return DataProblem(
        kind=problem.kind,
        column=problem.column,
        count=problem.count,
        cells=tuple(
            ProblemCell(
                row=cell.row, line=cell.line, got=cell.got, origin=cell.origin, file=cell.file
            )
            for cell in problem.cells
        ),
        expected=problem.expected,
        advice=problem.advice,
        text=problem.text,
    )
