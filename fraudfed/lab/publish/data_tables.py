"""Write the tables of ``docs/data.md`` that repeat what the code says, between their marks.

``python -m fraudfed.lab.publish.data_tables`` renews the page; a test fails when that would
change it.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from data_gen.catalogue import ALL_PRESETS, PURPOSES, SCHEMAS
from data_gen.categories import CATEGORY_NAMES
from data_gen.credit.config import CreditConfig
from data_gen.schema.incoming import MULE_COLUMNS
from data_gen.schema.rules import TableSchema
from data_gen.settings.config import WorldConfig

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(heads)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _presets() -> str:
    rows = (
        [f"`{name}`", str(config.banks), f"{config.customers:,}", str(config.days), PURPOSES[name]]
        for name, config in ALL_PRESETS.items()
    )
    return _table(("preset", "banks", "customers", "days", "for"), rows)


def _schema(schema: TableSchema) -> str:
    rows = []
    for column in schema.columns:
        rule = schema.rule(column.name)
        expected = rule.expected(column.type)
        if rule.allowed == CATEGORY_NAMES:
            expected = "a merchant category, see below"
        elif rule.allowed is not None:
            expected = ", ".join(f"`{value}`" for value in rule.allowed)
        missing = "may be" if column.nullable else "never"
        if rule.null_for:
            missing = f"always for {_codes(rule.null_for)}"
            missing += ", else never" if rule.present_for else ", else may be"
        unit = column.unit if "list" not in column.unit and " or " not in column.unit else ""
        rows.append([f"`{column.name}`", column.type, unit, expected, missing, column.meaning])
    return _table(("column", "type", "unit", "values", "missing", "meaning"), rows)


def _mules() -> str:
    rows = (
        [
            f"`{column.name}`",
            column.type,
            column.unit,
            "may be" if column.nullable else "never",
            column.meaning,
        ]
        for column in MULE_COLUMNS
    )
    return _table(("column", "type", "unit", "missing", "meaning"), rows)


def _codes(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _dials(config: type[Any]) -> str:
    meanings = _parameters(config)
    rows = (
        [f"`{field.name}`", _shown(field.default), meanings[field.name]]
        for field in dataclasses.fields(config)
    )
    return _table(("dial", "default", "meaning"), rows)


def _shown(value: Any) -> str:
    """Return a default as ``--set`` reads it; an empty list is an empty cell."""
    if value is None:
        return "`none`"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{text}`" if text else ""


def _parameters(config: type[Any]) -> dict[str, str]:
    """Return what the docstring of a configuration says of each of its fields."""
    text = inspect.cleandoc(config.__doc__ or "").partition("Parameters\n----------\n")[2]
    found = {}
    for names, meaning in re.findall(r"^(\w[\w, ]*) : [^\n]*\n((?:    [^\n]*\n?)+)", text, re.M):
        words = " ".join(meaning.split()).replace("``", "`")
        found.update(dict.fromkeys(names.split(", "), words))
    return found


TABLES: Mapping[str, Callable[[], str]] = {
    "presets": _presets,
    "transactions": lambda: _schema(SCHEMAS["transactions"]),
    "incoming": lambda: _schema(SCHEMAS["incoming"]),
    "mules": _mules,
    "categories": lambda: _codes(CATEGORY_NAMES),
    "dials": lambda: _dials(WorldConfig),
    "credit": lambda: _schema(SCHEMAS["credit"]),
    "credit dials": lambda: _dials(CreditConfig),
}


def renewed(page: str) -> str:
    """Return the page with every table as the code has it; all marks must be there.

    Raises
    ------
    ValueError
        Naming a mark that is missing.
    """
    for name, table in TABLES.items():
        begin = f"<!-- data_tables: {name} -->\n"
        head, mark, rest = page.partition(begin)
        _, end, tail = rest.partition("<!-- end -->")
        if not mark or not end:
            raise ValueError(f"docs/data.md: the mark of {name!r} is missing, expected {begin!r}")
        page = f"{head}{mark}{table()}\n{end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
