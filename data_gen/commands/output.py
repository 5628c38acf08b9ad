"""What the commands of ``data-gen`` print with ``--json``."""

from typing import Any

from pydantic import JsonValue
from rich.table import Table

from fraudfed.console import Answer


class Generated(Answer):
    """``generate``: the data set that was written; ``manifest.json`` in ``out`` has the details.

    Attributes
    ----------
    out : str
    kind : str
        What its rows are: ``transactions`` or ``credit``.
    preset : str
    seed : int
    rows : int
    positive_rows : int
        Labelled as fraud, or as default.
    banks : tuple of str
    content_sha256 : str
    """

    out: str
    kind: str
    preset: str
    seed: int
    rows: int
    positive_rows: int
    banks: tuple[str, ...]
    content_sha256: str


class Preset(Answer):
    """One preset of ``presets``."""

    name: str
    banks: int
    customers: int
    days: int
    purpose: str


class Presets(Answer):
    """``presets``."""

    presets: tuple[Preset, ...]


class DescribedTable(Answer):
    """One table of ``describe``: every row has one text cell per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, table: Table) -> "DescribedTable":
        """Return the cells of a table that was made for a terminal."""
        cells = [[str(cell) for cell in column.cells] for column in table.columns]
        return cls(
            title=str(table.title),
            columns=tuple(str(column.header) for column in table.columns),
            rows=tuple(zip(*cells, strict=True)),
        )


class Description(Answer):
    """``describe``.

    Attributes
    ----------
    directory : str
    manifest : dict
        ``manifest.json``: all counts as numbers.
    tables : tuple of DescribedTable
    plots : tuple of str
        Files that ``--plots`` wrote.
    """

    directory: str
    manifest: dict[str, JsonValue]
    tables: tuple[DescribedTable, ...]
    plots: tuple[str, ...]


class FoundFault(Answer):
    """One deviation from the schema; ``row`` counts from 1 without the header."""

    file: str
    row: int | None
    column: str | None
    value: str
    expected: str


class Checked(Answer):
    """``validate``; with faults it is the ``result`` beside the ``error``."""

    path: str
    files: int
    rows: int
    faults: tuple[FoundFault, ...]


class SchemaColumn(Answer):
    """One column of ``schema``; null or empty where the schema sets no rule."""

    name: str
    type: str
    unit: str | None
    nullable: bool
    minimum: float | int | None
    maximum: float | int | None
    allowed: tuple[Any, ...] | None
    unique: bool
    null_for: tuple[str, ...]
    present_for: tuple[str, ...]
    meaning: str


class PublishedSchema(Answer):
    """``schema``: what the columns of a data set hold."""

    kind: str
    sorted_by: str
    label_time: str
    columns: tuple[SchemaColumn, ...]
