"""A mapping says what is wrong with it: file, key, what it got and what was expected."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fraudfed.errors import ConfigurationError
from fraudfed.features.mappings.mapping import (
    BUILT_IN,
    ColumnSource,
    Mapping,
    load_mapping,
    parse_mapping,
)
from fraudfed.payments.columns import CHANNELS, MERCHANT_CATEGORIES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "features.md").read_text(encoding="utf-8")
BUILT_IN_PAGE = (DOCS / "mappings.md").read_text(encoding="utf-8")

LEAST = """
format_version = 1
kind = "transactions"
[columns]
transaction_id = { column = "id" }
event_time = { column = "when", time_unit = "seconds" }
customer_id = { column = "who" }
amount_minor = { column = "amount", minor_units = 100 }
"""


def test_the_least_mapping() -> None:
    mapping = parse_mapping(LEAST, source="own.toml")
    assert not mapping.has_labels
    assert mapping.source_names == {
        "transaction_id": "id",
        "event_time": "when",
        "customer_id": "who",
        "amount_minor": "amount",
    }


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_mappings_are_whole(name: str) -> None:
    mapping = load_mapping(name)
    # A message has no label.
    assert (mapping.label is not None or mapping.has_labels) == (not name.startswith("pacs008"))
    assert mapping.description.strip()
    for column, allowed in (("channel", CHANNELS), ("merchant_category", MERCHANT_CATEGORIES)):
        how = mapping.columns.get(column)
        if how is not None:
            given = [how.constant, how.default, *(how.values or {}).values()]
            # An empty text says that there is no value.
            assert {value for value in given if value} <= set(allowed)


def test_every_built_in_mapping_has_a_section_with_its_columns() -> None:
    listed = re.findall(r"^\| \[`([a-z0-9-]+)`\]", BUILT_IN_PAGE, re.MULTILINE)
    assert tuple(sorted(listed)) == BUILT_IN
    for name in BUILT_IN:
        section = BUILT_IN_PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
        mapping = load_mapping(name)
        for column in (mapping.label, *mapping.drop):
            assert column is None or f"`{column}`" in section


def test_every_key_of_a_mapping_is_documented() -> None:
    section = PAGE.split("## Other people's data")[1].split("\n## ")[0]
    rows = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    assert rows >= {*ColumnSource.model_fields, *Mapping.model_fields}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[columns]", "[columns", "is not TOML (Expected ']' at the end of a table"),
        ("format_version = 1", "", "format_version is missing: Field required"),
        ("format_version = 1", "format_version = 2", "format_version is 2: Input should be 1"),
        ('"transactions"', '"rows"', "kind is 'rows': Input should be 'transactions' or 'table'"),
        ('"id" }', '"id", colour = 3 }', "columns.transaction_id.colour is 3: Extra inputs"),
        ('"who" }', "1, constant = [1] }", "columns.customer_id.column is 1: Input should be a"),
        ('column = "who"', "constant = [1]", "columns.customer_id.constant is [1]: Input should"),
        ("100", "0", "columns.amount_minor.minor_units is 0: Input should be greater than 0"),
        ("100", "1.5", "columns.amount_minor.minor_units is 1.5: expected a whole number above 0"),
        ('"seconds"', '"weeks"', "columns.event_time.time_unit is 'weeks': Input should be 'nano"),
        ('column = "id"', "", "columns.transaction_id: got no source, expected exactly one of"),
        ('"id" }', '"id", constant = "x" }', "got column and constant, expected exactly one of"),
        ('"id" }', '"id", default = "x" }', "got default without values, expected both"),
        (
            'time_unit = "seconds"',
            "since = 2024-01-01T00:00:00Z",
            "columns.event_time: got since without time_unit, expected both",
        ),
        (
            '"seconds" }',
            '"seconds", time_format = "%Y" }',
            "columns.event_time: got time_format and time_unit, expected one",
        ),
        ('customer_id = { column = "who" }', "", "columns.customer_id: is missing; every payment"),
        (
            "customer_id",
            "client_id",
            "columns.client_id: is not a column of a transaction, expected",
        ),
        (
            '"who" }',
            '"who", minor_units = 100 }',
            "columns.customer_id: got minor_units, which only amount_minor may have",
        ),
        (
            '"who" }',
            '"who" }\nis_fraud = { column = "fraud" }',
            "columns.is_fraud: expected label_time and is_fraud or neither",
        ),
        (
            '"who" }',
            '"who" }\nlatitude = { column = "lat" }',
            "columns.latitude: expected latitude and longitude or neither",
        ),
        (
            '"who" }',
            '"who", values = { a = 1 } }',
            "columns.customer_id: got 1, expected a text",
        ),
        (
            "minor_units = 100 }",
            'values = { a = "x" } }',
            "columns.amount_minor: got 'x', expected a number",
        ),
    ],
)
def test_a_wrong_mapping_is_named(old: str, new: str, message: str) -> None:
    assert old in LEAST
    with pytest.raises(ConfigurationError) as caught:
        parse_mapping(LEAST.replace(old, new), source="own.toml")
    text = str(caught.value)
    assert text.startswith("mapping own.toml: ")
    assert message in text
    assert text.endswith("; mend it")
    assert "\n" not in text


def test_a_table_is_renamed_only() -> None:
    text = 'format_version = 1\nkind = "table"\n[columns]\n'
    mapping = parse_mapping(text + 'a = { column = "V1" }\nb = { column = "V2" }', source="t")
    assert mapping.source_names == {"a": "V1", "b": "V2"}
    for more, message in (
        (
            'a = { column = "V1", prefix = "x" }',
            "columns.a: got prefix, a table's columns can only",
        ),
        ("a = { constant = 1 }", "columns.a: got constant, a table's columns can only be renamed"),
        ('a = { column = "V" }\nb = { column = "V" }', "columns.b: column 'V' is 'a' already"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            parse_mapping(text + more, source="t")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "got neither columns nor a label, expected what it says of a table"),
        ('label = "y"\ndrop = ["a", "y"]', "drop: 'y' is the label, expected other columns"),
        ('label = ""', "label is '': String should have at least 1 character"),
        ('label = "y"\ndrop = "a"', "drop is 'a': Input should be a valid tuple"),
    ],
)
def test_what_a_table_is_said_to_be_is_checked(more: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        parse_mapping(f'format_version = 1\nkind = "table"\n{more}', source="t")


@pytest.mark.parametrize("key", ['label = "is_fraud"', 'drop = ["id"]'])
def test_transactions_have_no_label_to_choose(key: str) -> None:
    with pytest.raises(ConfigurationError, match="which only a mapping of kind 'table' may have"):
        parse_mapping(LEAST.replace("[columns]", f"{key}\n[columns]"), source="t")


def test_files_that_are_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no such file, expected a TOML file or one of baf"
    ):
        load_mapping("sparkof")
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"line 1: byte 0xff is not UTF-8; save it"):
        load_mapping(str(path))
    path.write_text(LEAST)
    assert load_mapping(str(path)) == parse_mapping(LEAST, source="x")


def test_an_origin_without_a_zone_is_utc() -> None:
    for since in ("2024-01-01T00:00:00", "2024-01-01T00:00:00Z", "2024-01-01T02:00:00+02:00"):
        text = LEAST.replace('"seconds"', f'"hours", since = {since}')
        how = parse_mapping(text, source="t").columns["event_time"]
        assert how.since_seconds == int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
