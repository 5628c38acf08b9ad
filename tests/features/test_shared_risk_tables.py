"""Bytes of risk tables: canonical, and closed against everything else."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import random_table
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, solo_tables

from fraudfed.errors import StateError
from fraudfed.features.shared_risk import RiskTables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.features.shared_risk.tables import _CONTAINER, DayTable, packed
from fraudfed.wire.messages import RiskSpec

SMALL = {"first_day": FIRST_DAY, "last_day": FIRST_DAY + 9, "days_per_step": 4, "depth": 2}


def small_spec(**changes: object) -> RiskSpec:
    return risk_spec(**{**SMALL, "transaction_width": 16, "fraud_width": 16, **changes})


def with_counts(*largest: int) -> RiskTables:
    """Tables whose days hold these numbers, one each."""
    days = []
    for number in largest:
        sketch = np.zeros((2, 16), dtype=np.int64)
        sketch[:, 3] = number
        nothing = packed(np.zeros((2, 16), dtype=np.int64))
        days.append(DayTable(packed(sketch), nothing, nothing))
    spec = small_spec(last_day=FIRST_DAY + len(largest) - 1)
    return RiskTables(spec, hash_key_id(KEY), tuple(days))


def framed(content: bytes) -> bytes:
    """Return the container, whose checksum fits, of any content."""
    return _CONTAINER.pack(content)


def content_of(tables: RiskTables) -> bytes:
    return _CONTAINER.unpack(tables.to_bytes(), source="test")


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_what_was_read_back_has_the_same_bytes(seed: int) -> None:
    tables = solo_tables(random_table(np.random.default_rng(seed), 60, days=8), small_spec())
    data = tables.to_bytes()
    again = RiskTables.from_bytes(data)
    assert again.to_bytes() == data
    assert (again.spec, again.key_id) == (tables.spec, tables.key_id)
    for mine, other in zip(tables.days, again.days, strict=True):
        np.testing.assert_array_equal(mine.transactions, other.transactions)
        np.testing.assert_array_equal(mine.frauds, other.frauds)
        np.testing.assert_array_equal(mine.corrections, other.corrections)


def test_counters_take_as_few_bytes_as_the_largest_needs() -> None:
    sizes = []
    for largest in (0, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**40):
        tables = with_counts(largest)
        assert int(RiskTables.from_bytes(tables.to_bytes()).days[0].transactions.max()) == largest
        sizes.append(len(tables.to_bytes()))
    steps = [(size - sizes[0]) // 32 for size in sizes]
    assert steps == [0, 1, 2, 2, 4, 4, 8, 8]


def test_bytes_of_a_state_say_how_many_steps_are_done() -> None:
    tables = solo_tables(random_table(np.random.default_rng(1), 50, days=8), small_spec())
    for n_days, steps in ((0, 0), (4, 1), (8, 2), (10, 3)):
        state = RiskTables(tables.spec, tables.key_id, tables.days[:n_days])
        found = RiskTables.from_bytes(state.to_bytes())
        assert (found.n_steps, found.is_complete) == (steps, n_days == 10)


@given(position=st.integers(0, 10**6), value=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_is_found(position: int, value: int) -> None:
    data = bytearray(with_counts(7, 300, 0).to_bytes())
    data[position % len(data)] ^= value
    with pytest.raises(StateError):
        RiskTables.from_bytes(bytes(data))


@given(body=st.binary(max_size=80), keep=st.integers(0, 400))
@settings(max_examples=80, deadline=None)
def test_no_bytes_do_harm(body: bytes, keep: int) -> None:
    """Also with a checksum that fits, there is a StateError or the very same bytes."""
    data = framed(content_of(with_counts(7, 300))[:keep] + body)
    with contextlib.suppress(StateError):
        assert RiskTables.from_bytes(data).to_bytes() == data


def changed(before: bytes, after: bytes) -> bytes:
    body = content_of(with_counts(7, 300, 0))
    assert body.count(before) == 1, before
    return framed(body.replace(before, after))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin as risk tables"),
        (b"something else", "does not begin as risk tables"),
        (with_counts(7).to_bytes()[:-1], "cut off"),
        (with_counts(7).to_bytes()[:-1] + b"?", "wrong checksum"),
        (framed(content_of(with_counts(7))[:-1]), "end too early"),
        (framed(content_of(with_counts(7)) + b"\0"), "1 bytes too many"),
        (changed(b'"depth":2', b'"depth":0'), "head is malformed"),
        (changed(b'"depth":2', b'"DEPTH":2'), "head is malformed"),
        (changed(b'{"key_id"', b'["key_id"'), "head is malformed"),
        (changed(b'{"key_id":', b'{ "key_id":'), "head is malformed"),
        (changed(b"\x03\0\0\0\x01", b"\x04\0\0\0\x01"), "4 of 3 days"),
        (changed(b"\x03\0\0\0\x01", b"\x02\0\0\0\x01"), "2 of 3 days"),
        (changed(b"\x03\0\0\0\x01", b"\x03\0\0\0\x03"), "3 bytes"),
    ],
)
def test_damaged_tables_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(StateError, match=message):
        RiskTables.from_bytes(data)


def test_no_array_is_made_that_the_bytes_do_not_hold() -> None:
    """A forged handover may claim sketches of any size, full of zeros: 100,000 days of 64 MB."""
    spec = risk_spec(
        first_day=0, last_day=99_000, days_per_step=1, depth=16, transaction_width=1 << 22
    )
    empty = content_of(RiskTables(spec, hash_key_id(KEY)))[:-4]
    n_days = 99_001
    forged = framed(empty + n_days.to_bytes(4, "little") + bytes(3 * n_days))
    found = RiskTables.from_bytes(forged)
    assert found.is_complete
    assert found.days[-1].transactions.shape == (16, 1 << 22)


def test_wider_counters_than_needed_are_not_canonical() -> None:
    tables = with_counts(7)
    narrow, wide = content_of(tables), content_of(with_counts(300))
    forged = wide.replace((300).to_bytes(2, "little"), (7).to_bytes(2, "little"))
    assert len(forged) > len(narrow)
    with pytest.raises(StateError, match="not in canonical form"):
        RiskTables.from_bytes(framed(forged))


def _one_row_short(sketch: np.ndarray) -> None:
    sketch[1, 3] -= 1


def _above_a_day(sketch: np.ndarray) -> None:
    sketch[:, 3] = 2**40 + 1


def _around_the_end_of_int64(sketch: np.ndarray) -> None:
    sketch[0, :4] = sketch[1, 2:6] = 2**62


@pytest.mark.parametrize(
    ("forge", "expected"),
    [
        (_one_row_short, "entries of one day"),
        (_above_a_day, "what a day can hold"),
        (_around_the_end_of_int64, "what a day can hold"),
    ],
)
def test_a_sketch_that_is_none_of_a_day_is_refused(forge, expected: str) -> None:
    """Handed over or read from a file: each entry is once in every row."""
    tables = with_counts(70)
    sketch = tables.days[0].transactions.astype(np.int64)
    forge(sketch)
    forged = DayTable(packed(sketch), tables.days[0].frauds, tables.days[0].corrections)
    with pytest.raises(StateError, match=expected):
        RiskTables.from_bytes(RiskTables(tables.spec, tables.key_id, (forged,)).to_bytes())
    assert RiskTables.from_bytes(tables.to_bytes()).days[0].transactions.max() == 70


def test_a_head_that_is_long_or_nested_is_refused() -> None:
    for head in (b"[" * 60_000, b" " * 100_000, b'{"spec": NaN, "key_id": ""}'):
        with pytest.raises(StateError, match="head is malformed"):
            RiskTables.from_bytes(framed(len(head).to_bytes(4, "little") + head))
