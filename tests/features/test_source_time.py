"""Times of files as mappings say them: types, units, zones, clock changes, and their range."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.mappings.mapped import map_transactions
from fraudfed.features.mappings.mapping import Mapping, load_mapping, parse_mapping
from fraudfed.intake.transactions import read_transactions
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import ProblemsError

NOON = 1_704_110_400  # 2024-01-01 12:00:00 UTC
LAST = (1 << 33) - 1  # 2242-03-16 12:56:31 UTC


def mapping_of(how: str, *, file: str = "", amount: str = '{ column = "amount" }') -> Mapping:
    return parse_mapping(
        f"""
        format_version = 1
        kind = "transactions"
        {file}
        [columns]
        transaction_id = {{ row_number = true }}
        event_time = {how}
        customer_id = {{ constant = "c" }}
        amount_minor = {amount}
        """,
        source="own.toml",
    )


def seconds(how: str, values: Any) -> list[float]:
    table = pa.table({"x": values, "amount": [1] * len(values)})
    frame = map_transactions(mapping_of(how), table, source="rows.csv", with_labels=False)
    found: list[float] = frame["event_time"].tolist()
    return found


def text(form: str, more: str = "") -> str:
    return f'{{ column = "x", time_format = "{form}"{more} }}'


def unit(name: str, more: str = "") -> str:
    return f'{{ column = "x", time_unit = "{name}"{more} }}'


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        (text("%Y-%m-%d %H:%M:%S.%f"), ["2024-01-01 12:00:00.999999"], NOON),
        (text("%Y-%m-%dT%H:%M:%S%z"), ["2024-01-01T13:30:00+01:30"], NOON),
        (text("%Y-%m-%d %H:%M %Z"), ["2024-01-01 12:00 UTC"], NOON),
        (text("%Y-%m-%d %H:%M %Z"), ["2024-01-01 13:00 Europe/Berlin"], NOON),
        (text("%Y-%m-%d %H:%M", ', time_zone = "Europe/Berlin"'), ["2024-01-01 13:00"], NOON),
        (text("%d.%m.%y %H", ', time_zone = "Asia/Kolkata"'), ["01.01.24 17"], NOON - 1800),
        (unit("milliseconds"), [NOON * 1000 + 999], NOON),
        (unit("microseconds"), [f"{NOON}000000"], NOON),
        (unit("nanoseconds"), [f"{NOON}999999999"], NOON),
        (unit("nanoseconds"), [NOON * 10**9 - 1], NOON - 1),
        (unit("milliseconds"), [NOON * 1000 + 0.5], NOON),
        (unit("seconds"), pa.array([NOON]).cast(pa.decimal128(38, 0)), NOON),
        (unit("days", ", since = 1899-12-30T00:00:00Z"), [45292.5], NOON),
        ('{ column = "x" }', pa.array([NOON * 1000 + 1], pa.timestamp("ms")), NOON),
        ('{ column = "x" }', pa.array([NOON * 10**6], pa.timestamp("us", "Asia/Tokyo")), NOON),
        ('{ column = "x" }', pa.array([19723], pa.date32()), NOON - 43_200),
        ('{ column = "x" }', pa.array([19723 * 86_400_000], pa.date64()), NOON - 43_200),
        (
            '{ column = "x", time_zone = "America/New_York" }',
            pa.array([NOON - 5 * 3600], pa.timestamp("s")),
            NOON,
        ),
        (
            '{ column = "x", time_zone = "Europe/Berlin" }',
            pa.array([19723], pa.date32()),
            NOON - 46_800,
        ),
        ('{ column = "x" }', pa.array([LAST], pa.timestamp("s")), LAST),
        (unit("seconds"), [0], 0),
    ],
)
def test_one_instant_in_many_dresses(how: str, values: Any, expected: int) -> None:
    values = values if isinstance(values, pa.Array) else pa.array(values)
    both = pa.concat_arrays([values, pa.nulls(1, values.type)])
    found = seconds(how, both)
    assert found[0] == expected
    assert math.isnan(found[1])


@given(
    st.sampled_from(["nanoseconds", "microseconds", "milliseconds", "seconds"]),
    st.integers(0, LAST * 10**9),
    st.booleans(),
)
def test_whole_numbers_of_any_unit_are_exact(name: str, nanoseconds: int, as_text: bool) -> None:
    per_second = {"nanoseconds": 10**9, "microseconds": 10**6, "milliseconds": 1000, "seconds": 1}
    count = min(nanoseconds // (10**9 // per_second[name]), 2**63 - 1)
    found = seconds(unit(name), [str(count) if as_text else count])
    assert found == [count // per_second[name]]


OUT_OF_RANGE = "expected a time from 1970-01-01 00:00:00 to 2242-03-16 12:56:31 UTC"


@pytest.mark.parametrize(
    ("how", "values"),
    [
        (text("%Y-%m-%d"), ["1969-12-31"]),
        (text("%Y-%m-%d"), ["9999-12-31"]),
        (text("%d.%m.%y"), ["31.12.69"]),
        (text("%Y-%m-%d %H:%M%z"), ["1970-01-01 00:00+01:00"]),
        (text("%Y-%m-%d", ', time_zone = "Europe/Berlin"'), ["1970-01-01"]),
        ('{ column = "x" }', pa.array([-1], pa.timestamp("ns"))),
        ('{ column = "x" }', pa.array([2**62], pa.timestamp("s"))),
        ('{ column = "x" }', pa.array([-(2**31)], pa.date32())),
        ('{ column = "x" }', pa.array([2**31 - 1], pa.date32())),
        (unit("seconds"), [NOON * 1000]),
        (unit("days"), [2**62]),
        (unit("days"), [-(2**62)]),
        (unit("seconds"), [1e300]),
        (unit("seconds"), [-0.5]),
        (unit("nanoseconds"), ["-1"]),
        (unit("milliseconds"), pa.array([2**64 - 1], pa.uint64())),
    ],
)
def test_what_is_out_of_range_does_not_wrap_around(how: str, values: Any) -> None:
    with pytest.raises(DataError) as caught:
        seconds(how, values)
    assert OUT_OF_RANGE in str(caught.value)
    assert str(caught.value).startswith("rows.csv: row 1, column 'x': got ")
    assert "\n" not in str(caught.value)


BERLIN = ', time_zone = "Europe/Berlin"'
AUTUMN, SPRING = "2024-10-27 02:30", "2024-03-31 02:30"


def berlin(moment: str, *, fold: int = 0) -> float:
    local = datetime.strptime(moment, "%Y-%m-%d %H:%M")
    return local.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold).timestamp()


def test_hours_that_come_twice_or_never() -> None:
    form = "%Y-%m-%d %H:%M"
    fine = ["2024-10-27 01:59", "2024-10-27 03:00", "2024-03-31 01:59", "2024-03-31 03:00"]
    assert seconds(text(form, BERLIN), fine) == [berlin(moment) for moment in fine]
    with pytest.raises(
        DataError, match=r"'2024-10-27 02:30', expected a time that comes once in E"
    ):
        seconds(text(form, BERLIN), [*fine, AUTUMN])
    with pytest.raises(DataError, match=r"'2024-03-31 02:30', expected a time that there was in E"):
        seconds(text(form, BERLIN), [*fine, SPRING])
    for rule, fold in (("first", 0), ("second", 1)):
        how = text(form, f'{BERLIN}, repeated_hour = "{rule}"')
        assert seconds(how, [AUTUMN, *fine])[0] == berlin(AUTUMN, fold=fold)
        with pytest.raises(DataError, match="clocks went forward"):
            seconds(how, [SPRING])
    how = text(form, f'{BERLIN}, missing_hour = "later"')
    assert seconds(how, [SPRING]) == [berlin("2024-03-31 03:30")]
    how = f'{{ column = "x"{BERLIN}, repeated_hour = "second" }}'
    naive = pa.array([datetime.strptime(AUTUMN, form)], pa.timestamp("us"))
    assert seconds(how, naive) == [berlin(AUTUMN, fold=1)]


def test_names_of_zones_tell_repeated_hours_apart() -> None:
    how = text("%Y-%m-%d %H:%M %Z", BERLIN)
    found = seconds(
        how, [f"{AUTUMN} CEST", f"{AUTUMN} cet", "2024-07-01 12:00 CEST", f"{AUTUMN} UTC"]
    )
    utc = datetime.strptime(AUTUMN, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()
    summer = berlin("2024-07-01 12:00")
    assert found == [berlin(AUTUMN), berlin(AUTUMN, fold=1), summer, utc]
    for wrong in ("2024-07-01 12:00 CET", "2024-07-01 12:00 EST", "2024-07-01 12:00 Europe/Berlim"):
        with pytest.raises(DataError, match="or what Europe/Berlin calls its time then"):
            seconds(how, [wrong])
    with pytest.raises(
        DataError, match=r"'2024-01-01 12:00 CET', expected the name of a zone that"
    ):
        seconds(text("%Y-%m-%d %H:%M %Z"), ["2024-01-01 12:00 CET"])
    with pytest.raises(DataError, match="clocks went forward"):
        seconds(how, [f"{SPRING} CET"])


@pytest.mark.parametrize(
    ("how", "values", "message"),
    [
        (f'{{ column = "x"{BERLIN} }}', pa.array([0], pa.timestamp("s", "UTC")), "without a zone"),
        (text("%Y-%m-%d"), [5], "has type int64, the mapping expects a text of time_format"),
        ('{ column = "x" }', ["2024-01-01"], "has type string, the mapping expects time_format or"),
        (unit("milliseconds"), ["1.7E+12", "x"], "got 'x', expected a number"),
        (unit("milliseconds"), ["1.7E+12"], "expected a number with all its digits"),
        (text("%Y-%m-%d"), ["2024-02-30"], "expected a time as '%Y-%m-%d'"),
    ],
)
def test_what_is_no_time_of_the_mapping(how: str, values: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        seconds(how, values)
    assert message in str(caught.value)


def test_every_kind_of_fault_of_a_column_is_told() -> None:
    values = ["soon", "1969-01-01 00:00", AUTUMN, SPRING, "2024-01-01 12:00", "never"]
    with pytest.raises(ProblemsError) as caught:
        seconds(text("%Y-%m-%d %H:%M", BERLIN), values)
    kinds = {problem.kind: problem.count for problem in caught.value.problems}
    assert kinds == {"not_a_time": 2, "time_out_of_range": 1, "repeated_hour": 1, "missing_hour": 1}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            text("%T"),
            "columns.event_time: got %T in '%T', expected a letter that is read; write %H:",
        ),
        (text("%d.%m. %H:%M"), "expected a whole date"),
        (
            text("%d.%m.%Y", ', time_zone = "CEST"'),
            "got 'CEST', expected the name of a zone of the I",
        ),
        (text("%d.%m.%Y %H%z", BERLIN), "got time_zone and %z, expected one"),
        (unit("hours", BERLIN), "got time_zone and time_unit, expected one"),
        (text("%d.%m.%Y", ', repeated_hour = "first"'), "got repeated_hour without time_zone"),
        (
            text("%d.%m.%Y", f'{BERLIN}, missing_hour = "first"'),
            "Input should be 'refuse' or 'later'",
        ),
    ],
)
def test_a_mapping_that_leaves_times_open_is_refused(how: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        mapping_of(how)
    assert message in str(caught.value)
    assert str(caught.value).startswith("mapping own.toml: columns.event_time")


MONEY = '[file]\nseparator = ";"\ndecimal = ","\nthousands = "."\nencoding = "cp1252"\n'


def test_a_file_of_another_country(tmp_path: Path) -> None:
    mapping = mapping_of(
        text("%d.%m.%Y %H:%M", BERLIN),
        file=MONEY,
        amount='{ column = "Betrag \u20ac", minor_units = 100, negative = true }',
    )
    path = tmp_path / "Ums\u00e4tze.CSV"
    path.write_bytes(
        "x;Betrag \u20ac\r\n01.01.2024 13:00;-1.234,56\r\n01.07.2024 14:00;0,00\r\n".encode(
            "cp1252"
        )
    )
    file = DataFile.open(path, file_format=mapping.file)
    read = read_transactions(file, mapping, file.problems(), extra={}, needs_labels=False)
    np.testing.assert_array_equal(read.rows["event_time"], [NOON, 1_719_835_200])
    amounts = read.rows["amount_minor"]
    np.testing.assert_array_equal(amounts, [123_456, 0])
    assert not np.signbit(amounts).any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbfformat_version = 2", "format_version is 2: Input should be 1"),
        ("format_version = 1".encode("utf-16"), "is written in UTF-16, expected UTF-8"),
        (b"format_version = 1\n# M\xfcller", "line 2: byte 0xfc is not UTF-8"),
    ],
)
def test_mappings_that_editors_saved(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_mapping(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    body = 'format_version = 1\nkind = "table"\n[columns]\na = { column = "b" }\n'
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + body.encode())
        assert load_mapping(str(path)) == parse_mapping(body, source="t")


@pytest.mark.parametrize("key", ["\u00dcberweisung", "U\u0308berweisung"])
@pytest.mark.parametrize("value", ["\u00dcberweisung", " U\u0308berweisung\u00a0"])
def test_codes_are_looked_up_however_they_are_encoded(key: str, value: str) -> None:
    mapping = mapping_of(unit("seconds"), amount=f'{{ column = "k", values = {{ "{key}" = 7 }} }}')
    table = pa.table({"x": [1], "k": [value]})
    frame = map_transactions(mapping, table, source="t", with_labels=False)
    assert frame["amount_minor"].tolist() == [7]
    both = f'{{ column = "k", values = {{ "{key}" = 7, " {key}" = 8 }} }}'
    with pytest.raises(ConfigurationError, match="which are the same text but for white space"):
        mapping_of(unit("seconds"), amount=both)


def test_pandas_reads_the_same_times() -> None:
    moments = pd.date_range("2024-01-01", periods=400, freq="7h13min")
    for form in ("%Y-%m-%d %H:%M:%S", "%d/%m/%Y %I:%M %p", "%Y%m%d%H%M%S"):
        texts = moments.strftime(form)
        expected = pd.to_datetime(texts, format=form).as_unit("s").astype("int64")
        assert seconds(text(form), pa.array(texts.tolist())) == expected.tolist()
