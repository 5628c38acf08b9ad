"""Mapped tables: hand-computed values, every type a file may have, and faults named to the cell."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from examples.published_tables import handbook_rows, paysim_rows, sparkov_rows

from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import build_features, check_transactions
from fraudfed.features.mappings.mapped import map_transactions, origin_of, source_types
from fraudfed.features.mappings.mapping import Mapping, load_mapping, parse_mapping

APRIL_2018 = 1_522_540_800  # 2018-04-01 00:00:00 UTC


def mapped(mapping: Mapping, table: pa.Table, *, with_labels: bool = True) -> pd.DataFrame:
    return map_transactions(mapping, table, source="rows.csv", with_labels=with_labels)


def with_columns(**columns: str) -> Mapping:
    """Return the least mapping, with columns set or added."""
    least = {
        "transaction_id": '{ column = "id" }',
        "event_time": '{ column = "when", time_unit = "seconds" }',
        "customer_id": '{ column = "who" }',
        "amount_minor": '{ column = "amount" }',
    }
    lines = [f"{name} = {how}" for name, how in {**least, **columns}.items()]
    text = 'format_version = 1\nkind = "transactions"\n[columns]\n' + "\n".join(lines)
    return parse_mapping(text, source="t")


def rows(**columns: Any) -> pa.Table:
    least = {"id": ["a", "b"], "when": [5, 6], "who": ["c", "d"], "amount": [1, 2]}
    return pa.table({**least, **columns})


def one(frame: pd.DataFrame, name: str) -> list[Any]:
    return frame[name].astype(object).where(frame[name].notna(), None).tolist()


def test_minor_units_by_currency() -> None:
    mapping = with_columns(
        amount_minor='{ column = "amount", minor_units = "by currency" }',
        currency='{ column = "ccy", values = { "£" = "GBP", "¥" = "JPY" }, default = "KWD" }',
    )
    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "when": [5, 6, 7],
            "who": ["c", "c", "c"],
            "amount": [19.99, 1500.0, 1.2345],
            "ccy": ["£", "¥", "KD"],
        }
    )
    frame = mapped(mapping, table)
    assert one(frame, "currency") == ["GBP", "JPY", "KWD"]
    assert one(frame, "amount_minor") == [1999, 1500, 1234]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"amount_minor": '{ column = "a", minor_units = "by currency" }'},
            "minor_units 'by currency' without columns.currency",
        ),
        ({"amount_minor": '{ column = "a", minor_units = "pence" }'}, "or 'by currency'"),
        ({"amount_minor": '{ column = "a", minor_units = true }'}, "a whole number above 0"),
    ],
)
def test_wrong_minor_units_are_refused(columns: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        with_columns(**columns)


def test_the_handbook() -> None:
    table = pa.Table.from_pandas(handbook_rows().head(2).assign(TX_AMOUNT=[57.16, 0.0]))
    frame = mapped(load_mapping("handbook"), table)
    seconds = table["TX_TIME_SECONDS"].to_numpy()
    assert one(frame, "transaction_id") == ["0", "1"]
    np.testing.assert_array_equal(frame["event_time"], APRIL_2018 + seconds)
    np.testing.assert_array_equal(frame["label_time"], APRIL_2018 + seconds + 7 * 86400)
    assert one(frame, "terminal_id") == [str(t) for t in table["TERMINAL_ID"].to_pylist()]
    assert one(frame, "channel") == ["pos", "pos"]
    assert one(frame, "amount_minor") == [5716, 0]


def test_sparkov() -> None:
    table = pa.Table.from_pandas(
        sparkov_rows()
        .head(3)
        .assign(
            category=["misc_net", "gas_transport", "kids_pets"],
            trans_date_trans_time="2019-01-01 00:00:18",
        )
    )
    frame = mapped(load_mapping("sparkov"), table)
    assert one(frame, "event_time") == [1_546_300_818] * 3
    assert one(frame, "channel") == ["ecommerce", "pos", "pos"]
    assert one(frame, "merchant_category") == ["services", "fuel", "gaming"]
    assert one(frame, "customer_id") == [str(number) for number in table["cc_num"].to_pylist()]
    assert one(frame, "latitude") == table["merch_lat"].to_pylist()


def test_paysim() -> None:
    table = pa.Table.from_pandas(
        paysim_rows()
        .head(3)
        .assign(step=[1, 1, 744], type=["PAYMENT", "CASH_OUT", "TRANSFER"])
        .assign(nameDest=["M1", "C2", "C3"], isFraud=[0, 0, 1])
    )
    frame = mapped(load_mapping("paysim"), table)
    assert one(frame, "transaction_id") == [f"paysim-{row:09d}" for row in (1, 2, 3)]
    start = pd.Timestamp("2024-01-01", tz="UTC")
    assert start.day_name() == "Monday"
    assert one(frame, "event_time") == [start.timestamp() + h * 3600 for h in (1, 1, 744)]
    assert one(frame, "merchant_id") == ["M1", None, None]
    assert one(frame, "payee_id") == [None, "C2", "C3"]
    assert one(frame, "channel") == ["pos", "atm", "transfer"]
    assert one(frame, "merchant_category") == [None, "cash", None]


@pytest.mark.parametrize(
    ("name", "table"),
    [("handbook", handbook_rows()), ("sparkov", sparkov_rows()), ("paysim", paysim_rows())],
)
def test_what_is_mapped_meets_the_schema(name: str, table: pd.DataFrame) -> None:
    mapping = load_mapping(name)
    frame = mapped(mapping, pa.Table.from_pandas(table))
    check_transactions(frame, source="rows.csv")
    built = build_features(frame, risk_delay_days=1)
    assert built.n_rows == len(table)
    assert not np.isinf(built.values).any()
    present = ~np.isnan(built.values).all(axis=0)
    assert present[built.names.index("customer_mean_amount_30d")]
    assert present[built.names.index("terminal_fraud_rate_30d")] == (name == "handbook")


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        ('{ column = "x" }', ["b", "", None], ["b", None, None]),
        ('{ column = "x" }', [7, 8, None], ["7", "8", None]),
        ('{ column = "x" }', [7.0, 8.0, None], ["7", "8", None]),
        ('{ column = "x" }', [7.0, math.nan, None], ["7", None, None]),
        ('{ column = "x" }', pa.array(["b", "b", ""]).dictionary_encode(), ["b", "b", None]),
        ('{ column = "x", prefix = "k-" }', ["b", "", None], ["k-b", None, None]),
        ('{ column = "x", starts_with = "b" }', ["b1", "c", None], ["b1", None, None]),
        ('{ column = "x", values = { b = "B", c = "" } }', ["b", "c", None], ["B", None, None]),
        (
            '{ column = "x", values = { b = "B" }, default = "?" }',
            ["b", "z", None],
            ["B", "?", None],
        ),
        (
            '{ column = "x", values = { b = "B" }, default = "" }',
            ["b", "z", None],
            ["B", None, None],
        ),
        (
            '{ column = "x", values = { 1 = "one" }, default = "?" }',
            [1, 2, None],
            ["one", "?", None],
        ),
        ('{ constant = "m" }', [1, 2, 3], ["m", "m", "m"]),
    ],
)
def test_texts(how: str, values: Any, expected: list[str | None]) -> None:
    table = rows(id=["a", "b", "c"], when=[5, 6, 7], who=["c"] * 3, amount=[1, 2, 3], x=values)
    assert one(mapped(with_columns(device_id=how), table), "device_id") == expected


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        ('{ column = "x" }', [1, None], [1, math.nan]),
        ('{ column = "x", minor_units = 100 }', [0.29, 1e9], [29, 1e11]),
        ('{ column = "x", minor_units = 100 }', [19.999, -0.004], [2000, 0]),
        ('{ column = "x", minor_units = 1000 }', ["1.234", " 5 "], [1234, 5000]),
        ('{ column = "x", values = { low = 1, high = 500 } }', ["high", "low"], [500, 1]),
        ('{ column = "x", values = { low = 1 }, default = 9 }', ["high", ""], [9, math.nan]),
        ("{ constant = 12 }", ["high", ""], [12, 12]),
    ],
)
def test_numbers(how: str, values: Any, expected: list[float]) -> None:
    frame = mapped(with_columns(amount_minor=how), rows(x=values))
    np.testing.assert_array_equal(frame["amount_minor"], expected)


NOON = 1_704_110_400  # 2024-01-01 12:00:00 UTC


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        ('{ column = "x", time_unit = "seconds" }', [NOON, None], [NOON, math.nan]),
        (
            '{ column = "x", time_format = "%Y-%m-%d" }',
            ["1970-1-2", "1970-03-01"],
            [86400, 5097600],
        ),
        ('{ column = "x", time_unit = "milliseconds" }', [NOON * 1000 + 999, 7], [NOON, 0]),
        ('{ column = "x", time_unit = "minutes" }', [0.5, 2], [30, 120]),
        ('{ column = "x", time_unit = "days" }', [0.25, 2], [21600, 172800]),
        (
            '{ column = "x", time_unit = "hours", since = 2024-01-01T12:00:00Z }',
            [0, 2.5],
            [NOON, NOON + 9000],
        ),
        (
            '{ column = "x", time_format = "%d/%m/%Y %H:%M" }',
            ["01/01/2024 12:00", ""],
            [NOON, math.nan],
        ),
        (
            '{ column = "x" }',
            pa.array([NOON * 10**9 + 5, None], pa.timestamp("ns")),
            [NOON, math.nan],
        ),
        ('{ column = "x" }', pa.array([NOON * 10**6], pa.timestamp("us", "Asia/Tokyo")), [NOON]),
        ('{ column = "x" }', pa.array([19723], pa.date32()), [NOON - 12 * 3600]),
    ],
)
def test_times(how: str, values: Any, expected: list[float]) -> None:
    n_rows = len(values)
    table = rows(
        id=["a", "b"][:n_rows],
        when=[5, 6][:n_rows],
        who=["c"] * n_rows,
        amount=[1] * n_rows,
        x=values,
    )
    frame = mapped(with_columns(event_time=how), table)
    np.testing.assert_array_equal(frame["event_time"], expected)


def test_a_delayed_label_is_known_where_there_is_one() -> None:
    mapping = with_columns(
        is_fraud='{ column = "x", values = { yes = 1, no = 0 } }',
        label_time="{ delay_seconds = 60 }",
    )
    frame = mapped(mapping, rows(x=["yes", ""]))
    np.testing.assert_array_equal(frame["is_fraud"], [1, math.nan])
    np.testing.assert_array_equal(frame["label_time"], [65, math.nan])
    check_transactions(frame, source="rows.csv", require_labels=False)
    bare = mapped(mapping, rows(), with_labels=False)
    assert {"is_fraud", "label_time"}.isdisjoint(bare)


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        ({"merchant_id": '{ column = "x" }'}, [1.5, 2.5], "got 1.5, expected a text or a whole"),
        (
            {"channel": '{ column = "x", values = { a = "pos" } }'},
            ["a", "z"],
            "row 2, column 'x': got 'z', expected one of a; mend the value, or map it",
        ),
        (
            {"event_time": '{ column = "x", time_format = "%Y-%m-%d" }'},
            ["2024-01-01", "soon"],
            "row 2, column 'x': got 'soon', expected a time as '%Y-%m-%d'",
        ),
        (
            {"event_time": '{ column = "x", time_format = "%Y-%m-%d" }'},
            ["2024-2-29", "2023-02-29"],
            "row 2, column 'x': got '2023-02-29', expected a time as '%Y-%m-%d'",
        ),
        (
            {"event_time": '{ column = "x", time_format = "%Y-%m-%d" }'},
            [1, 2],
            "column 'x' has type int64, the mapping expects a text of time_format",
        ),
        (
            {"event_time": '{ column = "x" }'},
            ["2024-01-01", "soon"],
            "column 'x' has type string, the mapping expects time_format or time_unit",
        ),
        ({"amount_minor": '{ column = "x" }'}, ["1", "1,5"], "row 2, column 'x': got '1,5', exp"),
        (
            {"amount_minor": '{ column = "x" }'},
            pa.array([1, 2], pa.timestamp("s")),
            "column 'x' has type timestamp[s], expected numbers",
        ),
        (
            {"merchant_id": '{ column = "x" }'},
            pa.array([[1], [2]]),
            "column 'x' has type list<item: int64>, expected text or whole numbers",
        ),
    ],
)
def test_what_has_no_meaning_is_named(columns: dict[str, str], values: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        mapped(with_columns(**columns), rows(x=values))
    text = str(caught.value)
    assert text.startswith("rows.csv: ")
    assert message in text
    assert "\n" not in text


def test_the_schemas_faults_name_the_source() -> None:
    mapping = with_columns(
        amount_minor='{ column = "x", minor_units = 100 }', channel='{ constant = "swift" }'
    )
    table = rows(x=[1.5, -2.5])
    frame = mapped(mapping, table)
    with pytest.raises(DataError, match=r"row 1, column 'channel': got 'swift', expected one of"):
        check_transactions(
            frame, source="rows.csv", require_labels=False, origin=origin_of(mapping, table)
        )
    frame["channel"] = "pos"
    with pytest.raises(
        DataError, match=r"row 2, column 'amount_minor' \(from 'x' -2\.5\): got -250\.0, expected 0"
    ):
        check_transactions(
            frame, source="rows.csv", require_labels=False, origin=origin_of(mapping, table)
        )


def test_types_for_reading_csv() -> None:
    mapping = with_columns(
        merchant_id='{ column = "amount", prefix = "m" }',
        is_fraud='{ column = "fraud" }',
        label_time='{ column = "known", time_format = "%Y-%m-%d" }',
    )
    everything = source_types(mapping, with_labels=True)
    # A column that is text for anything is read as text.
    assert everything == {
        "id": pa.string(),
        "when": pa.string(),
        "who": pa.string(),
        "amount": pa.string(),
        "fraud": pa.float64(),
        "known": pa.string(),
    }
    assert source_types(mapping, with_labels=False).keys() == {"id", "when", "who", "amount"}
    frame = mapped(mapping, rows(amount=["12", "7"]), with_labels=False)
    np.testing.assert_array_equal(frame["amount_minor"], [12, 7])
    assert one(frame, "merchant_id") == ["m12", "m7"]
