"""What a cell means as number or text, whatever it is stored as."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.reading import cells
from fraudfed.reading.file_format import FileFormat


def column(values: list[Any], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    half = len(values) // 2
    return pa.chunked_array([pa.array(part, kind) for part in (values[:half], values[half:])])


def numbers(values: list[Any], kind: pa.DataType | None = None, **how: Any) -> list[Any]:
    """Return the numbers; None where missing, 'wrong' where there is none."""
    found, wrong = cells.numbers(column(values, kind), FileFormat(**how))
    return [
        "wrong" if bad else None if np.isnan(one) else one
        for one, bad in zip(found.tolist(), wrong.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.decimal128(38, 0), pa.decimal128(9, 2)),
        *(pa.decimal256(50, 3), pa.dictionary(pa.int8(), pa.int32())),
    ],
)
def test_a_whole_number_is_one_in_every_dress(kind: pa.DataType) -> None:
    assert numbers([7, None, 0], kind) == [7, None, 0]
    text, wrong = cells.texts(column([7, None, 0], kind))
    assert text.to_pylist() == ["7", None, "0"]
    assert not wrong.any()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_texts_of_every_kind_are_alike(kind: pa.DataType) -> None:
    assert numbers(["1.5", "", "NA", "-2e3", " 7 ", None], kind) == [
        1.5,
        None,
        None,
        -2000,
        7,
        None,
    ]
    text, wrong = cells.texts(column(["NA", "", "NULL", None, "n/a", "nan"], kind))
    assert text.to_pylist() == ["NA", None, "NULL", None, "n/a", "nan"]
    assert not wrong.any()


@pytest.mark.parametrize("text", ["n/a", "none", "12,50", "1_000", "0x10", "1 2", "--5", "5-", "é"])
def test_what_is_no_number_is_wrong_and_nothing_else_is(text: str) -> None:
    assert numbers(["1", text, "", "3"]) == [1, "wrong", None, 3]


def test_numbers_may_have_a_sign_and_be_infinite() -> None:
    assert numbers(["+5", "-0.5", ".5", "5.", "1E+2", "NaN", "nan"]) == [
        5,
        -0.5,
        0.5,
        5,
        100,
        None,
        None,
    ]
    assert numbers(["inf", "-Infinity", "x"]) == [np.inf, -np.inf, "wrong"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["True", "False", "", "NA"], [1, 0, None, None]),
        (["TRUE", "false", None], [1, 0, None]),
        # One among numbers is not taken for a number.
        (["True", "2", "0"], ["wrong", 2, 0]),
        (["yes", "True"], ["wrong", "wrong"]),
    ],
)
def test_truth_values_are_those_of_a_whole_column(values: list[Any], expected: list[Any]) -> None:
    assert numbers(values) == expected
    assert numbers([True, False, None], pa.bool_()) == [1, 0, None]


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        ({"decimal": ","}, ["1,5", "-2", "1.5", ""], [1.5, -2, "wrong", None]),
        ({"decimal": ",", "thousands": "."}, ["1.234,5", "12.34", "1234"], [1234.5, "wrong", 1234]),
        ({"thousands": ","}, ["1,234,567.25", "1,23", "12"], [1234567.25, "wrong", 12]),
        ({"thousands": "\u202f"}, ["12\u202f000", "NULL"], [12000, None]),
        ({"thousands": "'"}, ["1'000'000", "1''000"], [1e6, "wrong"]),
    ],
)
def test_numbers_as_other_countries_write_them(how, values, expected) -> None:
    assert numbers(values, **how) == expected


def test_texts_of_numbers_that_are_not_whole_or_too_large_are_wrong() -> None:
    for values, kind in (
        ([1.5, 2.0], pa.float64()),
        ([1.2e17, 2.0], pa.float64()),
        ([Decimal("1.50"), Decimal("2.00")], pa.decimal128(9, 2)),
    ):
        text, wrong = cells.texts(column(values, kind))
        assert text.to_pylist() == [None, "2"]
        assert wrong.tolist() == [True, False]
    # A decimal keeps digits that a double would lose.
    text, _ = cells.texts(column([Decimal(10**30 + 7)], pa.decimal128(38, 0)))
    assert text.to_pylist() == [str(10**30 + 7)]


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.decimals(
                allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
            ),
        ),
        min_size=1,
    )
)
def test_a_decimal_is_rounded_once_as_its_text_is(values: list[Decimal | None]) -> None:
    stored, _ = cells.numbers(column(values, pa.decimal128(20, 3)))
    written, _ = cells.numbers(column([None if v is None else str(v) for v in values], pa.string()))
    np.testing.assert_array_equal(stored, written)
    np.testing.assert_array_equal(stored, [np.nan if v is None else float(v) for v in values])


@given(st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=1), st.booleans())
def test_python_writes_numbers_that_are_read_back(values: list[float | None], odd: bool) -> None:
    """With a sign in front, value by value; else as Arrow parses a whole column."""
    written = [None if v is None else repr(v) for v in values]
    found, wrong = cells.numbers(column([*written, "+1" if odd else "1"], pa.string()))
    assert not wrong.any()
    np.testing.assert_array_equal(found[:-1], [np.nan if v is None else v for v in values])
    assert found[-1] == 1
