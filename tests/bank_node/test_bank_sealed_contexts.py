"""A context that was used up stays used up, whatever happens to the program."""

import hashlib
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.sealed_contexts import SealedContexts
from fraudfed.errors import StateError, SumError


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def claim(contexts: SealedContexts, number: int) -> None:
    contexts.claim(digest(number), label="histogram", round_number=number)


def test_a_context_is_used_up_once_and_for_ever(tmp_path) -> None:
    path = tmp_path / "sealed"
    contexts = SealedContexts(path)
    claim(contexts, 0)
    claim(contexts, 1)
    for again in (contexts, SealedContexts(path)):
        assert digest(0) in again
        with pytest.raises(SumError, match=r"used before.*round 0.*new run"):
            claim(again, 0)
    claim(SealedContexts(path), 2)
    assert digest(2) in SealedContexts(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 64), count=st.integers(1, 4))
def test_a_line_cut_off_by_a_crash_is_forgotten_alone(tmp_path_factory, cut, count) -> None:
    path = tmp_path_factory.mktemp("run") / "sealed"
    for number in range(count):
        claim(SealedContexts(path), number)
    path.write_bytes(path.read_bytes()[:-cut])
    again = SealedContexts(path)
    assert [digest(number) in again for number in range(count)] == [True] * (count - 1) + [False]
    claim(again, count - 1)
    assert all(digest(number) in SealedContexts(path) for number in range(count))


def test_a_damaged_or_unwritable_record_stops_the_run(tmp_path) -> None:
    path = tmp_path / "sealed"
    claim(SealedContexts(path), 0)
    claim(SealedContexts(path), 1)
    path.write_bytes(path.read_bytes().replace(b"\n", b"x\n", 1))
    with pytest.raises(StateError, match="damaged"):
        SealedContexts(path)
    with pytest.raises(StateError, match="nothing was sealed"):
        claim(SealedContexts(tmp_path / "none" / "sealed"), 0)
