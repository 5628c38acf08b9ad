"""A published schema: columns, and the rules for their values that the validator checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from data_gen.schema.columns import Column

# What the tables of a data set are about: the manifest's ``kind``.
TRANSACTIONS: Final = "transactions"
CREDIT: Final = "credit"
# A second table of a data set of transactions: what arrives at each bank.
INCOMING: Final = "incoming"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The rule for the values of one column; a missing value meets every rule but ``present_for``.

    Parameters
    ----------
    minimum, maximum : float or None
        Bounds of a number, inclusive.
    allowed : tuple of str, or None
        The permitted texts; None permits all.
    null_for, present_for : tuple of str
        Channels for which the value must be missing, and must not be missing.
    """

    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] | None = None
    null_for: tuple[str, ...] = ()
    present_for: tuple[str, ...] = ()

    def expected(self, kind: str) -> str:
        """Return in words what a value of type ``kind`` must be."""
        if self.allowed is not None:
            return "one of " + ", ".join(self.allowed)
        noun = {"float64": "a number", "string": "a text"}.get(kind, "a whole number")
        if self.minimum is not None and self.maximum is not None:
            return f"{noun} from {self.minimum:.12g} to {self.maximum:.12g}"
        if self.minimum is not None:
            return f"{noun} of at least {self.minimum:.12g}"
        if self.maximum is not None:
            return f"{noun} of at most {self.maximum:.12g}"
        return noun


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """Columns in the order of the files, and the rules of some of them.

    Parameters
    ----------
    kind : str
        The manifest's ``kind``.
    columns : tuple of Column
    rules : mapping of str to Rule
    identifier : str
        Text column; its values are unique in a data set.
    time : str
        Column by which rows are sorted, ascending, UTC epoch seconds.
    label_time : str
        Column that is never before ``time``.
    channel : str
        Column on which ``null_for`` and ``present_for`` depend.
    """

    kind: str
    columns: tuple[Column, ...]
    rules: Mapping[str, Rule]
    identifier: str
    time: str
    label_time: str
    channel: str

    def __post_init__(self) -> None:
        unknown = set(self.rules) - {column.name for column in self.columns}
        if unknown:
            raise ValueError(f"rules of columns that are not there: {sorted(unknown)}")

    def rule(self, name: str) -> Rule:
        """Return the rule of a column; by default any value of its type is permitted."""
        return self.rules.get(name, Rule())

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the files."""
        return pa.schema([column.arrow for column in self.columns])

    def as_dict(self) -> dict[str, Any]:
        """Return the schema as JSON values, for ``data-gen schema --json``."""
        return {
            "kind": self.kind,
            "sorted_by": self.time,
            "label_time": self.label_time,
            "columns": [self._column(column) for column in self.columns],
        }

    def _column(self, column: Column) -> dict[str, Any]:
        rule = self.rule(column.name)
        return {
            "name": column.name,
            "type": column.type,
            "unit": column.unit or None,
            "nullable": column.nullable,
            "minimum": rule.minimum,
            "maximum": rule.maximum,
            "allowed": None if rule.allowed is None else list(rule.allowed),
            "unique": column.name == self.identifier,
            "null_for": list(rule.null_for),
            "present_for": list(rule.present_for),
            "meaning": column.meaning,
        }
