"""The digest of a table: of its values alone, and of every one of them."""

import hashlib
import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.checking.table_reader import read_tables
from data_gen.writing.content import ContentDigest, combined_digest
from data_gen.writing.table_files import open_writers

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("whole", pa.int64()),
        pa.field("small", pa.int8()),
        pa.field("real", pa.float64()),
    ]
)
_rows = st.lists(
    st.tuples(
        st.none() | st.text("ab", min_size=1, max_size=4),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.integers(-128, 127),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=12,
)


def _table(rows: list[tuple[object, ...]]) -> pa.Table:
    names = SCHEMA.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], SCHEMA)


def _digest(*tables: pa.Table, schema: pa.Schema = SCHEMA) -> str:
    digest = ContentDigest(schema)
    for table in tables:
        digest.update(table)
    return digest.hexdigest()


@given(rows=_rows, cut=st.integers(0, 12))
def test_how_a_table_is_cut_does_not_matter(rows: list[tuple[object, ...]], cut: int) -> None:
    table = _table(rows)
    assert _digest(table.slice(0, cut), table.slice(cut)) == _digest(table)


@given(first=_rows, second=_rows)
def test_tables_have_one_digest_exactly_if_they_are_equal(
    first: list[tuple[object, ...]], second: list[tuple[object, ...]]
) -> None:
    # -0.0 equals 0.0 and is another value: compare what is written.
    same = [[repr(value) for value in row] for row in first] == [
        [repr(value) for value in row] for row in second
    ]
    assert (_digest(_table(first)) == _digest(_table(second))) == same


def test_what_is_easily_confused_is_told_apart() -> None:
    texts = [["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None], [None, "abc"], ["", "abc"]]
    schema = pa.schema([pa.field("text", pa.string())])
    digests = {_digest(pa.table([pa.array(t)], schema=schema), schema=schema) for t in texts}
    numbers = [[0, 1], [None, 1], [1, 0], [1], [0, 1, 0]]
    for kind, name in itertools.product((pa.int64(), pa.float64()), ("x", "y")):
        schema = pa.schema([pa.field(name, kind)])
        digests |= {
            _digest(pa.table([pa.array(n, kind)], schema=schema), schema=schema) for n in numbers
        }
    assert len(digests) == len(texts) + 4 * len(numbers)


def test_the_digest_is_what_the_description_says() -> None:
    schema = pa.schema([pa.field("n", pa.int64()), pa.field("t", pa.string())])
    table = pa.table([pa.array([3, None]), pa.array([None, "hé"])], schema=schema)

    def sha(content: bytes) -> bytes:
        return hashlib.sha256(content).digest()

    def little(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little", signed=True)

    numbers = b"n\nint64\n" + sha(b"\x01\x00") + sha(little(3, 8) + little(0, 8))
    texts = b"t\nstring\n" + sha(little(-1, 4) + little(3, 4)) + sha("hé".encode())
    expected = sha(b"data-gen content v1\n" + numbers + texts).hex()
    assert _digest(table, schema=schema) == expected


def test_bytes_under_a_null_are_not_looked_at() -> None:
    buffers = pa.array(["xx", "yy"]).buffers()
    hidden = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x01"), *buffers[1:]])
    schema = pa.schema([pa.field("t", pa.string())])
    plain = pa.table([pa.array(["xx", None])], schema=schema)
    assert _digest(pa.table([hidden], schema=schema), schema=schema) == _digest(
        plain, schema=schema
    )


@pytest.mark.parametrize("format_name", ["parquet", "csv"])
def test_files_of_either_format_have_the_digest_of_the_table(
    tmp_path: Path, format_name: str
) -> None:
    table = _table([("a", 1, -1, 0.1), (None, 2**62, None, 1e-300), ("b", None, 5, None)] * 3)
    with open_writers(tmp_path / "t", SCHEMA, [format_name], dictionary=["text"]) as writers:
        for writer in writers.values():
            writer.write(table)
    back = list(read_tables(tmp_path / f"t.{format_name}", SCHEMA))
    assert _digest(*back) == _digest(table)


def test_the_combined_digest_depends_on_names_order_and_digests() -> None:
    pairs = [("a", "1"), ("b", "2")]
    variants = [pairs, pairs[::-1], [("a", "2"), ("b", "1")], pairs[:1]]
    assert len({combined_digest(variant) for variant in variants}) == len(variants)
