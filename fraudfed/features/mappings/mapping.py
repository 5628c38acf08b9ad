"""Mappings: how a table with other names, units and codes becomes raw transactions.

A mapping is a TOML file, checked when it is read; docs/features.md lists every key. ``mapped``
carries it out.
"""

import codecs
import tomllib
from collections.abc import Mapping as MappingOf
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fraudfed.errors import ConfigurationError
from fraudfed.features.identifiers import (
    DEFAULT_KINDS,
    IdentifierKind,
    IdentifierKinds,
    canonical,
    canonical_kinds,
)
from fraudfed.features.mappings.time_zones import MissingHour, RepeatedHour, find_zone
from fraudfed.features.mappings.times import TimeFormat
from fraudfed.payments.columns import COLUMNS, LABEL_COLUMNS, TIME_COLUMNS, ColumnKind
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat

_BUILT_IN_FILES = {
    Path(file.name).stem: file
    for file in resources.files("fraudfed.features.mappings").iterdir()
    if file.name.endswith(".toml")
}
#: Names that ``load_mapping`` knows without a file.
BUILT_IN = tuple(sorted(_BUILT_IN_FILES))

_KINDS = {column.name: column.kind for column in COLUMNS}
#: Keys that only some columns may have, with those columns.
_KEYS_OF = {
    "prefix": tuple(name for name, kind in _KINDS.items() if kind is ColumnKind.STRING),
    "starts_with": tuple(name for name, kind in _KINDS.items() if kind is ColumnKind.STRING),
    "row_number": ("transaction_id",),
    "identifier": tuple(DEFAULT_KINDS),
    "minor_units": ("amount_minor",),
    "negative": ("amount_minor",),
    "time_format": TIME_COLUMNS,
    "time_zone": TIME_COLUMNS,
    "repeated_hour": TIME_COLUMNS,
    "missing_hour": TIME_COLUMNS,
    "time_unit": TIME_COLUMNS,
    "since": TIME_COLUMNS,
    "delay_seconds": ("label_time",),
}


#: ``minor_units`` of amounts whose currency says how many there are.
BY_CURRENCY: Final = "by currency"


def _checked_minor_units(value: Any) -> Any:
    """Check by hand: of a union, pydantic would say that no branch fits."""
    if value == BY_CURRENCY or (isinstance(value, int) and not isinstance(value, bool)):
        if value == BY_CURRENCY or value > 0:
            return value
        raise PydanticCustomError("minor_units", "Input should be greater than 0")
    raise PydanticCustomError(
        "minor_units", "expected a whole number above 0, or {choice}", {"choice": repr(BY_CURRENCY)}
    )


class TimeUnit(StrEnum):
    """What a number of a time column counts."""

    NANOSECONDS = "nanoseconds"
    MICROSECONDS = "microseconds"
    MILLISECONDS = "milliseconds"
    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"


class ColumnSource(BaseModel):
    """Where one column comes from: exactly one of the first four, refined by the others.

    Attributes
    ----------
    column : str or None
        Column of the source table.
    constant : str, int, float or None
        The same value in every row.
    row_number : bool
        ``transaction_id`` only: number the rows from 1, as nine digits.
    delay_seconds : int or None
        ``label_time`` only: this long after ``event_time``, if ``is_fraud`` has a value.
    identifier : IdentifierKind or None
        Identifiers only: what kind the texts are of, and so what is one and the same; None is the
        kind of ``identifiers.DEFAULT_KINDS``.
    prefix : str
        Text columns only: put before every value.
    starts_with : str or None
        Text columns only: a value that begins differently counts as missing.
    values : dict of str to str, int or float, or None
        What each value of the source is here; an empty text means that there is none. A number is
        looked up as it is printed.
    default : str, int, float or None
        What every other value is; None makes it an error.
    minor_units : int, "by currency" or None
        ``amount_minor`` only: minor units in one unit of the source, 100 for cents in a euro, or
        those of each row's ``currency``. The product is rounded to a whole number.
    negative : bool
        ``amount_minor`` only: payments are negative numbers in the source.
    time_format : str or None
        Times only: how a text is read, in the letters of ``times``.
    time_zone : str or None
        Times only: the zone whose clocks a text, a date or a timestamp without a zone is of; None
        is UTC.
    repeated_hour, missing_hour : RepeatedHour, MissingHour or None
        Times only: what a local time means that came twice or never; None refuses it.
    time_unit : TimeUnit or None
        Times only: what a number counts, from ``since`` on.
    since : datetime or None
        Times only: where ``time_unit`` begins; None is 1970-01-01 UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    column: Annotated[str, Field(min_length=1)] | None = None
    constant: str | int | float | None = None
    row_number: Literal[True] | None = None
    delay_seconds: Annotated[int, Field(ge=0)] | None = None
    identifier: IdentifierKind | None = None
    prefix: Annotated[str, Field(min_length=1)] | None = None
    starts_with: Annotated[str, Field(min_length=1)] | None = None
    values: Annotated[dict[str, str | int | float], Field(min_length=1)] | None = None
    default: str | int | float | None = None
    minor_units: (
        Annotated[int | Literal["by currency"], PlainValidator(_checked_minor_units)] | None
    ) = None
    negative: Literal[True] | None = None
    time_format: Annotated[str, Field(min_length=1)] | None = None
    time_zone: str | None = None
    repeated_hour: RepeatedHour | None = None
    missing_hour: MissingHour | None = None
    time_unit: TimeUnit | None = None
    since: datetime | None = None

    @property
    def since_seconds(self) -> int:
        """``since`` as UTC epoch seconds."""
        if self.since is None:
            return 0
        aware = self.since if self.since.tzinfo else self.since.replace(tzinfo=UTC)
        return int(aware.timestamp())

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [
            name
            for name in ("column", "constant", "row_number", "delay_seconds")
            if getattr(self, name) is not None
        ]
        if len(sources) != 1:
            raise ValueError(
                f"got {' and '.join(sources) or 'no source'}, expected exactly one of column, "
                "constant, row_number, delay_seconds"
            )
        for key, needs in (
            ("starts_with", "column"),
            ("values", "column"),
            ("minor_units", "column"),
            ("negative", "column"),
            ("time_format", "column"),
            ("time_zone", "column"),
            ("time_unit", "column"),
            ("default", "values"),
            ("since", "time_unit"),
        ):
            if getattr(self, key) is not None and getattr(self, needs) is None:
                raise ValueError(f"got {key} without {needs}, expected both; add {needs}")
        if self.identifier is IdentifierKind.IBAN and self.prefix is not None:
            raise ValueError("got prefix and identifier 'iban', expected one; no IBAN has a prefix")
        return self

    @model_validator(mode="after")
    def _times_are_certain(self) -> Self:
        if self.time_format is not None and self.time_unit is not None:
            raise ValueError("got time_format and time_unit, expected one; is it text or numbers?")
        letters = () if self.time_format is None else parsed_format(self.time_format).letters
        if self.time_zone is not None:
            find_zone(self.time_zone)
            for other, there in (("time_unit", self.time_unit), ("%z", "z" in letters or None)):
                if there is not None:
                    raise ValueError(
                        f"got time_zone and {other}, expected one; {other} says the instant already"
                    )
        elif "Z" not in letters:
            for key in ("repeated_hour", "missing_hour"):
                if getattr(self, key) is not None:
                    raise ValueError(f"got {key} without time_zone, expected both; add time_zone")
        return self

    @model_validator(mode="after")
    def _values_are_told_apart(self) -> Self:
        if self.values is not None and self.identifier is not IdentifierKind.TOKEN:
            seen: dict[str, str] = {}
            for text, value in self.values.items():
                other = seen.setdefault(looked_up_form(text), text)
                if self.values[other] != value:
                    raise ValueError(
                        f"values: got {other!r} and {text!r}, which are the same text but for "
                        "white space or accents; expected one of them"
                    )
        return self


@lru_cache
def parsed_format(time_format: str) -> TimeFormat:
    """Return a format as it is understood; raises ValueError if it is not."""
    return TimeFormat.parse(time_format)


def looked_up_form(text: str) -> str:
    """Return a text as ``values`` and ``starts_with`` compare it: composed and trimmed."""
    return canonical(text, IdentifierKind.CODE) or ""


class Mapping(BaseModel):
    """A whole mapping.

    Attributes
    ----------
    format_version : int
    kind : str
        ``transactions``: raw transactions, of which features are built. ``table``: a table of
        features, whose columns are renamed and nothing else.
    description : str
        Which data it is for, and what was decided.
    file : FileFormat
        How a CSV file is written.
    columns : dict of str to ColumnSource
        By the name that the column has for fraudfed. A table need not have any.
    own_columns : dict of str to ColumnSource
        ``transactions`` only: by the name that the column has in a run's contract, where its own
        columns are called otherwise in the file. They have ``column`` or ``constant``, and maybe
        ``values`` and ``default``.
    label : str or None
        Tables only: the column of 0 (clean) and 1 (fraud), by its name here. The demo trains on it;
        a bank's node takes the label that the run's contract names.
    drop : tuple of str
        Tables only: columns that are no features, by their names here. The demo leaves them out; a
        bank's node takes the features that the contract names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1]
    kind: Literal["transactions", "table"]
    description: str = ""
    file: FileFormat = PLAIN_CSV
    columns: dict[str, ColumnSource] = Field(default_factory=dict)
    own_columns: dict[str, ColumnSource] = Field(default_factory=dict)
    label: Annotated[str, Field(min_length=1)] | None = None
    drop: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if self.kind == "table":
            self._check_renaming()
        else:
            self._check_transactions()
        return self

    def _check_own_columns(self) -> None:
        allowed = {"column", "constant", "values", "default"}
        for name, source in self.own_columns.items():
            more = sorted(source.model_fields_set - allowed)
            if more:
                raise ValueError(
                    f"own_columns.{name}: got {more[0]}, expected column or constant, and maybe "
                    "values and default"
                )
            if name in _KINDS:
                raise ValueError(
                    f"own_columns.{name}: is a column of every transaction; put it under columns"
                )

    def _check_renaming(self) -> None:
        if self.own_columns:
            raise ValueError("own_columns: are for kind transactions; a table's are its columns")
        if not self.columns and self.label is None and not self.drop:
            raise ValueError("got neither columns nor a label, expected what it says of a table")
        if self.label in self.drop:
            raise ValueError(f"drop: {self.label!r} is the label, expected other columns")
        sources: dict[str, str] = {}
        for name, source in self.columns.items():
            more = sorted(source.model_fields_set - {"column"})
            if more:
                raise ValueError(
                    f"columns.{name}: got {more[0]}, a table's columns can only be renamed"
                )
        for name, column in self.source_names.items():
            other = sources.setdefault(column, name)
            if other != name:
                raise ValueError(
                    f"columns.{name}: column {column!r} is {other!r} already, expected "
                    "each column once"
                )

    def _check_transactions(self) -> None:
        self._check_own_columns()
        for key in ("label", "drop"):
            if key in self.model_fields_set:
                raise ValueError(f"got {key}, which only a mapping of kind 'table' may have")
        unknown = sorted(self.columns.keys() - _KINDS.keys())
        if unknown:
            raise ValueError(
                f"columns.{unknown[0]}: is not a column of a transaction, expected some of "
                f"{', '.join(_KINDS)}"
            )
        for column in COLUMNS:
            if column.required and column.name not in self.columns:
                raise ValueError(f"columns.{column.name}: is missing; every payment has one")
        for pair in (LABEL_COLUMNS, ("latitude", "longitude")):
            there = [name for name in pair if name in self.columns]
            if len(there) == 1:
                raise ValueError(f"columns.{there[0]}: expected {' and '.join(pair)} or neither")
        by_currency = self.columns["amount_minor"].minor_units == BY_CURRENCY
        if by_currency and "currency" not in self.columns:
            raise ValueError(
                f"columns.amount_minor: got minor_units {BY_CURRENCY!r} without columns.currency; "
                "add it, or give a number"
            )
        for name, source in self.columns.items():
            for key, allowed in _KEYS_OF.items():
                if getattr(source, key) is not None and name not in allowed:
                    raise ValueError(
                        f"columns.{name}: got {key}, which only {', '.join(allowed)} may have"
                    )
            _check_value_types(name, source)

    @property
    def identifier_kinds(self) -> IdentifierKinds:
        """Kind of each column of identifiers, mapped or not."""
        given = {name: source.identifier for name, source in self.columns.items()}
        return canonical_kinds({name: kind for name, kind in given.items() if kind is not None})

    @property
    def has_labels(self) -> bool:
        """Whether it says what the labels are, and when they were known."""
        return all(name in self.columns for name in LABEL_COLUMNS)

    @property
    def source_names(self) -> dict[str, str]:
        """What columns are called in the source, by what they are called here."""
        return {
            name: source.column
            for name, source in self.columns.items()
            if source.column is not None
        }


def _check_value_types(name: str, source: ColumnSource) -> None:
    is_text = _KINDS[name] is ColumnKind.STRING
    given = [source.constant, source.default, *(source.values or {}).values()]
    for value in given:
        if value is not None and value != "" and isinstance(value, str) != is_text:
            expected = "a text" if is_text else "a number"
            raise ValueError(f"columns.{name}: got {value!r}, expected {expected}")


def load_mapping(choice: str) -> Mapping:
    """Return a built-in mapping by its name, or read one from a file.

    Parameters
    ----------
    choice : str
        One of ``BUILT_IN``, or the path of a TOML file.

    Raises
    ------
    ConfigurationError
        If there is no such mapping, or it is wrong; names file and key.
    """
    if choice in _BUILT_IN_FILES:
        return parse_mapping(_BUILT_IN_FILES[choice].read_text("utf-8"), source=choice)
    path = Path(choice)
    if not path.is_file():
        raise ConfigurationError(
            f"mapping {choice}: no such file, expected a TOML file or one of "
            f"{', '.join(BUILT_IN)}; check the path"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"mapping {choice}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from None
    return parse_mapping(_decoded(content, source=choice), source=choice)


def _decoded(content: bytes, *, source: str) -> str:
    """Return the text of a file, without the byte order mark that some editors begin it with."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigurationError(
            f"mapping {source}: is written in UTF-16, expected UTF-8; save it as UTF-8"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            f"mapping {source}: line {line}: byte {content[error.start]:#04x} is not UTF-8; save "
            "it as UTF-8"
        ) from None


def parse_mapping(text: str, *, source: str) -> Mapping:
    """Read the text of a mapping.

    Raises
    ------
    ConfigurationError
        If it is not TOML, or a key is unknown, missing or wrong.
    """
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"mapping {source}: is not TOML ({error}); mend it") from None
    try:
        return Mapping.model_validate(entries)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False)
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigurationError(f"mapping {source}: {_explained(first)}{more}; mend it") from None


#: Parts of the place of a key of a column: ``columns``, the column, the key.
_KEY_DEPTH = 3


def _explained(error: MappingOf[str, Any]) -> str:
    parts = [str(part) for part in error["loc"]]
    if len(parts) > _KEY_DEPTH and parts[-1] in ("str", "int", "float"):
        # Which of several types did not fit: no key of the file.
        parts.pop()
    where = ".".join(parts)
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{where}: {reason}" if where else reason
    got = "missing" if error["type"] == "missing" else repr(error["input"])
    return f"{where} is {got}: {reason}"
