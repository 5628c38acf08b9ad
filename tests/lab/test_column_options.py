"""Columns named on a command line: quoting, and what is said of names that are not there."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ConfigurationError, DataError
from fraudfed.lab.demo.column_options import named_columns

NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    min_size=1,
    max_size=5,
    unique=True,
)


def named(*texts: str, there: list[str]) -> tuple[str, ...]:
    return named_columns(texts, there, option="--drop", source="rows.csv")


@given(NAMES)
def test_what_a_csv_writer_writes_is_read_as_it_was(names: list[str]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="").writerow(names)
    # The text as a whole is the name of no column.
    there = [*names, "another"]
    if written.getvalue() not in there:
        assert named(written.getvalue(), there=there) == tuple(names)


@given(NAMES)
def test_one_name_at_a_time_needs_no_quotes(names: list[str]) -> None:
    there = [name for name in names if '"' not in name and "," not in name]
    assert named(*there, there=there) == tuple(there)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (['"distance, km"'], ("distance, km",)),
        (["distance, km"], ("distance, km",)),
        (["a,b"], ("a", "b")),
        ([" a , b "], ("a", "b")),
        (["a,"], ("a",)),
        ([""], ()),
        (["a", "b", "a"], ("a", "b")),
        (['"distance, km" , a'], ("distance, km", "a")),
        (['"5"" pipe",a'], ('5" pipe', "a")),
        (["rate [%],a"], ("rate [%]", "a")),
        (['" padded "'], (" padded ",)),
        ([" padded "], (" padded ",)),
        (["<10 km"], ("<10 km",)),
    ],
)
def test_lists(texts: list[str], expected: tuple[str, ...]) -> None:
    there = ["a", "b", "distance, km", '5" pipe', "rate [%]", " padded ", "<10 km"]
    assert named(*texts, there=there) == expected


@pytest.mark.parametrize("text", ['"distance, km', 'a"b,c', '"a"b', 'a,"'])
def test_quotes_that_do_not_match_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="quotes do not match"):
        named(text, there=["a", "b"])


def test_a_text_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the name of one column and those of 2"):
        named("a,b", there=["a", "b", "a,b"])
    assert named('"a,b"', there=["a", "b", "a,b"]) == ("a,b",)
    assert named("a,b", there=["a", "a,b"]) == ("a,b",)


def test_a_missing_column_is_named_with_what_could_be_meant() -> None:
    with pytest.raises(DataError, match=r"'ammount', which is missing; did you mean 'amount'\? "):
        named("ammount", there=["amount", "distance, km"])
    with pytest.raises(DataError, match='columns are amount, "distance, km"'):
        named("zzz", there=["amount", "distance, km"])
