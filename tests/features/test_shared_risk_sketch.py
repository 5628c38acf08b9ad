"""The count-min sketch against exact counts, and its published error against the one measured."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.shared_risk import KEY

from fraudfed.dtypes import Int64Array
from fraudfed.features.shared_risk.sketch import (
    columns_of,
    estimate,
    excess_bound,
    false_presence,
    hash_identifiers,
    hash_key_id,
    sketch_of,
)

counted = st.dictionaries(st.text(max_size=8), st.integers(1, 1000), max_size=40)
depths = st.integers(1, 6)
widths = st.sampled_from([16, 32, 128])


def sketched(counts: dict[str, int], *, depth: int, width: int, key: bytes = KEY) -> Int64Array:
    hashes = hash_identifiers("terminal", counts, hash_key=key, depth=depth)
    return sketch_of(hashes, np.array([*counts.values()], dtype=np.int64), width=width)


def looked_up(sketch: Int64Array, identifiers: list[str], *, key: bytes = KEY) -> Int64Array:
    depth, width = sketch.shape
    hashes = hash_identifiers("terminal", identifiers, hash_key=key, depth=depth)
    return estimate(sketch, [columns_of(hashes, row, width=width) for row in range(depth)])


@given(counts=counted, depth=depths, width=widths)
def test_an_estimate_is_never_below_the_truth(
    counts: dict[str, int], depth: int, width: int
) -> None:
    found = looked_up(sketched(counts, depth=depth, width=width), [*counts])
    assert (found >= np.array([*counts.values()], dtype=np.int64)).all()
    assert (found <= sum(counts.values())).all()


@given(counts=counted, depth=depths, width=widths)
def test_every_row_holds_every_count_once(counts: dict[str, int], depth: int, width: int) -> None:
    sketch = sketched(counts, depth=depth, width=width)
    assert sketch.sum(axis=1).tolist() == [sum(counts.values())] * depth


@given(left=counted, right=counted, width=widths)
def test_the_sketch_of_both_is_the_sum_of_the_sketches(
    left: dict[str, int], right: dict[str, int], width: int
) -> None:
    both = {name: left.get(name, 0) + right.get(name, 0) for name in {**left, **right}}
    total = sketched(left, depth=3, width=width) + sketched(right, depth=3, width=width)
    np.testing.assert_array_equal(total, sketched(both, depth=3, width=width))


@given(name=st.text(max_size=20), count=st.integers(1, 10**9))
def test_an_identifier_that_is_alone_is_counted_exactly(name: str, count: int) -> None:
    assert looked_up(sketched({name: count}, depth=2, width=16), [name]).tolist() == [count]


def test_hashes_are_those_of_keyed_blake2b() -> None:
    found = hash_identifiers("terminal", ["t1", "ü"], hash_key=KEY, depth=3)
    for row, name in zip(found, ["t1", "ü"], strict=True):
        digest = hashlib.blake2b(
            b"terminal\0" + name.encode(), digest_size=12, key=KEY, person=b"fraudfed risk v1"
        ).digest()
        assert row.tobytes() == np.frombuffer(digest, dtype="<u4").astype(np.uint32).tobytes()


def test_kinds_keys_and_depths_have_hashes_of_their_own() -> None:
    names = [f"x{i}" for i in range(50)]
    first = hash_identifiers("terminal", names, hash_key=KEY, depth=4)
    for other in (
        hash_identifiers("merchant", names, hash_key=KEY, depth=4),
        hash_identifiers("terminal", names, hash_key=KEY[::-1], depth=4),
        hash_identifiers("terminal", names, hash_key=KEY, depth=5)[:, :4],
    ):
        assert not (first == other).any()
    assert hash_key_id(KEY) != hash_key_id(KEY[::-1])
    assert KEY[:4].hex() not in hash_key_id(KEY).hex()


def test_no_identifier_is_no_hash() -> None:
    assert hash_identifiers("payee", [], hash_key=KEY, depth=4).shape == (0, 4)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="hash key has 16 bytes, expected 32"):
        hash_identifiers("payee", ["p"], hash_key=KEY[:16], depth=4)


@pytest.mark.parametrize(("width", "depth"), [(256, 1), (256, 3), (1024, 2)])
def test_the_error_stays_within_the_published_bounds(width: int, depth: int) -> None:
    rng = np.random.default_rng(width + depth)
    counts = {f"t{i}": int(n) for i, n in enumerate(rng.zipf(1.6, 2000) % 500 + 1)}
    sketch = sketched(counts, depth=depth, width=width)
    excess = looked_up(sketch, [*counts]) - np.array([*counts.values()])
    said = excess_bound(total=sum(counts.values()), width=width, depth=depth)
    assert excess.mean() <= said.expected
    assert (excess > said.bound).mean() <= said.failure_probability


def test_a_deeper_or_wider_sketch_errs_less() -> None:
    counts = {f"t{i}": 1 + i % 7 for i in range(1000)}
    truth = np.array([*counts.values()])
    errors = [
        (looked_up(sketched(counts, depth=depth, width=width), [*counts]) - truth).sum()
        for depth, width in [(1, 128), (2, 128), (4, 256)]
    ]
    assert errors[0] > errors[1] > errors[2] > 0


def test_false_presence_is_the_share_of_strangers_that_seem_present() -> None:
    sketch = sketched({f"t{i}": 1 for i in range(100)}, depth=2, width=256)
    strangers = looked_up(sketch, [f"stranger{i}" for i in range(20_000)])
    assert (strangers > 0).mean() == pytest.approx(false_presence(sketch), abs=0.01)
    assert 0.05 < false_presence(sketch) < 0.2
    assert false_presence(np.zeros((2, 16), dtype=np.int64)) == 0.0


def test_a_foreign_hash_key_finds_no_entries() -> None:
    """Who holds the tables and not the key sees every identifier as a stranger."""
    counts = {f"t{i}": 50 for i in range(100)}
    sketch = sketched(counts, depth=4, width=1024)
    assert (looked_up(sketch, [*counts]) >= 50).all()
    assert (looked_up(sketch, [*counts], key=KEY[::-1]) == 0).all()


@given(seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_sum_of_minima_is_at_most_the_minimum_of_sums(seed: int) -> None:
    """Why windows add up the estimates of days, and not their sketches."""
    rng = np.random.default_rng(seed)
    names = [f"t{i}" for i in range(60)]
    days = [
        sketched(dict(zip(names, rng.integers(1, 9, 60).tolist(), strict=True)), depth=3, width=16)
        for _ in range(3)
    ]
    of_days = sum(looked_up(day, names) for day in days)
    assert (of_days <= looked_up(np.sum(days, axis=0), names)).all()
