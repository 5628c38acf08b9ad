"""Every violation of the raw schema gives one line that names row, column, value, expectation."""

import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from oracles.features import START, random_table, table

from data_gen.categories import CATEGORY_NAMES
from data_gen.events import CHANNEL_NAMES
from data_gen.schema.columns import COLUMNS as WRITTEN
from fraudfed.errors import DataError
from fraudfed.features import check_transactions
from fraudfed.payments.columns import (
    CHANNELS,
    COLUMNS,
    MERCHANT_CATEGORIES,
    ColumnKind,
    pandas_dtypes,
)


def good(n_rows: int = 5) -> pd.DataFrame:
    return random_table(np.random.default_rng(1), n_rows)


def test_good_tables_pass() -> None:
    check_transactions(good(300), source="bank.parquet")
    check_transactions(good().assign(fraud_kind=None, note="x"), source="bank.parquet")
    check_transactions(good().set_axis([0] * 5, axis=0), source="bank.parquet")


def test_generator_and_schema_agree_on_values() -> None:
    assert CATEGORY_NAMES == MERCHANT_CATEGORIES
    assert CHANNEL_NAMES == CHANNELS


def test_generator_writes_the_columns_that_are_read() -> None:
    written = {column.name: column for column in WRITTEN}
    known = {column.name: column for column in COLUMNS}
    assert written.keys() <= known.keys()
    own = {column.name for column in COLUMNS if not column.analysis}
    assert written.keys() >= own - {"direction", "payer_id", "currency"}
    kinds = {"string": "string", "int64": "integer", "int8": "integer", "float64": "float"}
    for name, column in written.items():
        assert kinds[column.type] == known[name].kind
        assert known[name].nullable or not column.nullable


@pytest.mark.parametrize("column", [c.name for c in COLUMNS if not c.optional])
def test_missing_column(column: str) -> None:
    with pytest.raises(DataError, match=rf"bank.csv: column '{column}' is missing, expected the"):
        check_transactions(good().drop(columns=[column]), source="bank.csv")


@pytest.mark.parametrize("column", [c.name for c in COLUMNS if not c.nullable])
def test_missing_value(column: str) -> None:
    more = {"is_blocked": 0, "direction": "outbound", "currency": "GBP"}
    frame = good().assign(**more).astype({column: object})
    frame.loc[3, column] = None
    with pytest.raises(DataError, match=rf"row 4, column '{column}': got no value, expected a v"):
        check_transactions(frame, source="bank.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("is_fraud", 2, "row 3, column 'is_fraud': got 2, expected 0 to 1 (1 fraud, 0 clean)"),
        ("is_fraud", -1, "got -1, expected 0 to 1"),
        ("amount_minor", -5, "got -5, expected 0 to 1000000000000 (amount, minor currency units"),
        ("amount_minor", 19.99, "got 19.99, expected a whole number (amount, minor"),
        ("amount_minor", math.inf, "got inf, expected 0 to"),
        ("event_time", START * 1000, f"got {START * 1000}, expected 0 to 8589934591 (time of"),
        ("label_time", 12, "column 'label_time': got 12 beside event_time"),
        ("latitude", 91.0, "got 91.0, expected -90 to 90 (place of the terminal, degrees north)"),
        ("longitude", -math.inf, "got -inf, expected -180 to 180"),
        ("direction", "in", "column 'direction': got 'in', expected one of outbound, inbound"),
        ("channel", "swift", "got 'swift', expected one of pos, ecommerce, transfer, atm"),
        ("merchant_category", "Fuel", "got 'Fuel', expected one of grocery, fuel,"),
    ],
)
def test_bad_value(column: str, value: Any, message: str) -> None:
    frame = good().assign(direction="outbound")
    if isinstance(value, float):
        frame = frame.astype({column: np.float64})
    frame.loc[2, column] = value
    with pytest.raises(DataError) as caught:
        check_transactions(frame, source="bank.parquet")
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"bank.parquet: row 3, column '{column}': got ")
    assert "\n" not in text
    assert "; " in text


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("amount_minor", ["1", "2", "3", "4", "5"], "got '1', expected integer, the column has"),
        ("amount_minor", [1, 2, "three", 4, 5], "row 3, column 'amount_minor': got 'three'"),
        ("is_fraud", [False, True, False, True, False], "expected integer, the column has type"),
        ("latitude", ["n/a"] * 5, "got 'n/a', expected float, the column has type"),
        ("customer_id", [1, 2, 3, 4, 5], "got 1, expected text, the column has type int64"),
        ("payee_id", ["p", None, 7, "p", "p"], "row 3, column 'payee_id': got 7, expected text"),
    ],
)
def test_wrong_type(column: str, values: list[Any], message: str) -> None:
    frame = good()
    frame[column] = values
    with pytest.raises(DataError) as caught:
        check_transactions(frame, source="bank.parquet")
    assert message in str(caught.value)


def test_repeated_transaction() -> None:
    frame = good(6)
    frame.loc[[3, 5], "transaction_id"] = frame.loc[0, "transaction_id"]
    with pytest.raises(
        DataError,
        match=r"row 4, column 'transaction_id': got 't00000', expected an identifier that no "
        r"earlier row has \(and 1 more row\)",
    ):
        check_transactions(frame, source="bank.parquet")


def test_optional_columns_may_be_absent_and_a_place_has_two() -> None:
    lean = good()[["transaction_id", "event_time", "customer_id", "amount_minor"]]
    check_transactions(lean, source="new.csv", require_labels=False)
    assert set(lean) == {column.name for column in COLUMNS if column.required}
    with pytest.raises(
        DataError, match="'longitude' is missing while 'latitude' is there, expected both or nei"
    ):
        check_transactions(good().drop(columns=["longitude"]), source="bank.csv")


def test_columns_for_analysis_are_checked_where_they_are() -> None:
    check_transactions(good().assign(account_id="a", card_id=None, is_blocked=1), source="b.csv")
    with pytest.raises(DataError, match=r"column 'is_blocked': got 3, expected 0 to 1"):
        check_transactions(good().assign(is_blocked=3), source="b.csv")
    with pytest.raises(DataError, match=r"column 'card_id': got 7, expected text"):
        check_transactions(good().assign(card_id=7), source="b.csv")


def test_an_amount_of_zero_is_a_payment() -> None:
    check_transactions(good().assign(amount_minor=0), source="bank.csv")


def test_no_rows() -> None:
    with pytest.raises(DataError, match=r"bank\.csv: has no rows, expected at least one"):
        check_transactions(good().iloc[:0], source="bank.csv")


def test_labels_may_be_absent_for_scoring_only() -> None:
    bare = good().drop(columns=["is_fraud", "label_time"])
    check_transactions(bare, source="new.csv", require_labels=False)
    with pytest.raises(DataError, match="column 'label_time' is missing"):
        check_transactions(bare, source="new.csv")
    with pytest.raises(DataError, match="'is_fraud' is missing while 'label_time' is there"):
        check_transactions(
            good().drop(columns=["is_fraud"]), source="new.csv", require_labels=False
        )


def test_labels_may_be_unknown_row_by_row_for_scoring() -> None:
    partly = good().astype({"is_fraud": "Int8", "label_time": "Int64"})
    partly.loc[2, ["is_fraud", "label_time"]] = pd.NA
    check_transactions(partly, source="new.csv", require_labels=False)
    partly.loc[4, "is_fraud"] = pd.NA
    with pytest.raises(DataError, match=r"row 5, column 'label_time'.*exactly where is_fraud has"):
        check_transactions(partly, source="new.csv", require_labels=False)


def test_csv_read_with_the_published_dtypes_passes() -> None:
    """Identifiers that look like numbers stay text; empty columns stay readable."""
    frame = table(
        {"transaction_id": f"{i:03d}", "customer_id": str(i), "event_time": START + i}
        for i in range(4)
    )
    text = frame.to_csv(index=False)
    back = pd.read_csv(io.StringIO(text), dtype=pandas_dtypes())
    check_transactions(back, source="bank.csv")
    assert back["transaction_id"].tolist() == ["000", "001", "002", "003"]
    assert {c.name for c in COLUMNS if c.kind is ColumnKind.STRING} == set(pandas_dtypes())
