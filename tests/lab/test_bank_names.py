"""Names of banks made of the values of a column: injective, stable, and fit for files."""

import random
import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fraudfed.errors import DataError
from fraudfed.lab.demo.bank_names import name_banks, names_of
from fraudfed.wire.messages.base import BankName

VALID = TypeAdapter(BankName)
#: Near each other on purpose: a few letters in both cases, with accents, marks and blanks.
TEXTS = st.text("aAbB1-_ .éÉßжЖ漢", min_size=1, max_size=80)


def column(*values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def named(*values: object, kind: pa.DataType | None = None) -> list[str]:
    return name_banks(column(*values, kind=kind), what="column 'bank' of rows.csv").owner.tolist()


@given(st.sets(TEXTS | st.text(min_size=1), min_size=1, max_size=12), st.randoms())
def test_names_are_injective_valid_and_of_no_order(values: set[str], order: random.Random) -> None:
    names = names_of(values)
    assert names.keys() == values
    assert len(set(names.values())) == len(values)
    for name in names.values():
        VALID.validate_python(name)
    shuffled = sorted(values)
    order.shuffle(shuffled)
    assert names_of(shuffled) == names


@pytest.mark.parametrize(
    "values",
    [
        ("Первый", "Второй", "Третий"),
        ("三菱", "三井", "みずほ"),
        ("Nord", "nord", "NORD"),
        ("Crédit", "Credit", "Credit!"),
        ("A&B", "A+B", "A B"),
        ("x" * 63, "x" * 64, "x" * 65),
        ("1", "01", "1.0"),
        ("NULL", "NA", "nan"),
        ("***", "...", "-"),
        ("Straße", "Strasse", "STRASSE"),
        ("CON", "nul", "com1"),
        ("Bank", "_Bank_", "bank-"),
    ],
)
def test_values_that_were_one_name_are_as_many_banks(values: tuple[str, ...]) -> None:
    names = named(*values, *values)
    assert len(set(names)) == len(values)
    assert names[: len(values)] == names[len(values) :]
    assert not {name for name in names if re.fullmatch("con|nul|com1", name)}


def test_a_plain_name_stays_readable() -> None:
    expected = ["east-side", "zurich", "bank_01", "no7"]
    assert named("East Side", "Zürich", "bank_01", "№7") == expected


def test_a_value_that_is_called_like_another_ones_name_changes_neither_for_the_other() -> None:
    taken = names_of(["ab", "AB"])["AB"]
    names = names_of(["ab", "AB", taken])
    assert len(set(names.values())) == 3


def test_titles_are_the_values() -> None:
    found = name_banks(column("Ж", "Я", "b", "Ж"), what="column")
    assert sorted(found.titles.values()) == ["b", "Ж", "Я"]
    assert [found.titles[name] for name in found.owner.tolist()] == ["Ж", "Я", "b", "Ж"]
    assert list(found.titles) == sorted(found.titles)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2, 10], pa.int64(), ["1", "2", "10"]),
        ([1.0, 2.0, 10.0], pa.float64(), ["1", "2", "10"]),
        ([True, False], pa.bool_(), ["true", "false"]),
        (["a", "b", "a"], pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"]),
    ],
)
def test_numbers_are_banks_too(
    values: list[object], kind: pa.DataType, expected: list[str]
) -> None:
    array = pa.array(values).cast(kind) if pa.types.is_dictionary(kind) else pa.array(values, kind)
    assert name_banks(pa.chunked_array([array]), what="column").owner.tolist() == expected


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("a", None, "b"), pa.string()),
        (("a", "", "b"), pa.string()),
        (("a", " \t", "b"), pa.string()),
        ((1.0, None, 2.0), pa.float64()),
        ((1, None, 2), pa.int64()),
    ],
)
def test_a_row_of_no_bank_is_refused(values: tuple[object, ...], kind: pa.DataType) -> None:
    with pytest.raises(DataError, match=r"rows\.csv: row 2 names no bank, expected one in each"):
        named(*values, kind=kind)


@pytest.mark.parametrize(
    "alike",
    [
        ("Nord", "Nord "),
        ("Nord Bank", "Nord  Bank"),
        ("Café", unicodedata.normalize("NFD", "Café")),
        ("Nord Bank", "Nord\u00a0Bank"),
    ],
)
def test_banks_that_look_alike_are_refused(alike: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="look alike: they differ only by blanks") as refused:
        named(*alike, "Other")
    # Told apart in the message.
    assert ascii(min(alike)) in str(refused.value)
    assert ascii(max(alike)) in str(refused.value)


@pytest.mark.parametrize(
    ("values", "kind"),
    [((1.5, 2.0), pa.float64()), ((float("inf"), 1.0), pa.float64()), ((0, 1), pa.date32())],
)
def test_what_names_no_bank_is_refused(values: tuple[object, ...], kind: pa.DataType) -> None:
    with pytest.raises(DataError, match="choose another --bank-column"):
        named(*values, kind=kind)
