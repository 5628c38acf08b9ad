"""The round context: one encoding, and no two contexts share it."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ProtocolError
from fraudfed.secure_sum.context import RoundContext

BASE = RoundContext(
    run_id="run-1",
    epoch=0,
    round_number=7,
    label="histogram:3",
    n_values=12,
    bounds_digest="ab" * 32,
    roster=("alpha", "beta", "gamma"),
    key_fingerprint="cd" * 32,
    roster_digest="12" * 32,
    previous="34" * 32,
)


def test_digest_has_a_fixed_value() -> None:
    assert BASE.canonical_bytes().startswith(b"\x00\x00\x00\x16fraudfed round context\x00")
    assert BASE.digest == "02f6a4c3376c64d8cbbe6e84219fcf0c71a66c96c58eae3eb62991d72066475e"


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "run-2"},
        {"epoch": 1},
        {"round_number": 8},
        {"label": "histogram:4"},
        {"n_values": 13},
        {"bounds_digest": "ac" * 32},
        {"roster": ("alpha", "gamma", "beta")},
        {"roster": ("alpha", "beta")},
        {"roster": ("alpha", "betagamma")},
        {"key_fingerprint": "ce" * 32},
        {"roster_digest": "13" * 32},
        {"previous": "35" * 32},
        {"roster_digest": "34" * 32, "previous": "12" * 32},
        {"run_id": "run-", "label": "1histogram:3"},
    ],
)
def test_every_field_counts(change: dict[str, Any]) -> None:
    assert dataclasses.replace(BASE, **change).digest != BASE.digest


def test_every_field_is_covered() -> None:
    names = {field.name for field in dataclasses.fields(RoundContext)}
    assert names == {
        "run_id",
        "epoch",
        "round_number",
        "label",
        "n_values",
        "bounds_digest",
        "roster",
        "key_fingerprint",
        "roster_digest",
        "previous",
    }


contexts = st.builds(
    RoundContext,
    run_id=st.text(max_size=3),
    epoch=st.integers(0, 3),
    round_number=st.integers(0, 3),
    label=st.text(max_size=3),
    n_values=st.integers(0, 3),
    bounds_digest=st.sampled_from(["ab" * 32, "cd" * 32]),
    roster=st.lists(st.text(max_size=2), min_size=1, max_size=3, unique=True).map(tuple),
    key_fingerprint=st.sampled_from(["ab" * 32, "cd" * 32]),
    roster_digest=st.sampled_from(["ab" * 32, "cd" * 32]),
    previous=st.sampled_from(["ab" * 32, "cd" * 32]),
)


@given(one=contexts, other=contexts)
def test_digests_are_equal_exactly_when_contexts_are(
    one: RoundContext, other: RoundContext
) -> None:
    assert (one.digest == other.digest) == (one == other)
    assert dataclasses.replace(one).digest == one.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": -1}, "epoch is -1"),
        ({"round_number": 2**63}, "round_number"),
        ({"n_values": -5}, "n_values is -5"),
        ({"roster": ()}, "roster"),
        ({"roster": ("a", "b", "a")}, "each name once"),
        ({"bounds_digest": "ab"}, "bounds_digest"),
        ({"bounds_digest": "AB" * 32}, "lower-case"),
        ({"key_fingerprint": "zz" * 32}, "key_fingerprint"),
        ({"roster_digest": ""}, "roster_digest"),
        ({"previous": "0" * 63}, "previous"),
    ],
)
def test_what_is_no_context_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        dataclasses.replace(BASE, **change)
