"""The transcript: equal exactly when everything before was, and useless without the secret."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ProtocolError
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.transcript import Transcript

SECRET = bytes(range(32))


def new_context(
    transcript: Transcript, *, label: str = "counts", n_values: int = 2
) -> RoundContext:
    return RoundContext(
        run_id="run",
        epoch=1,
        round_number=0,
        label=label,
        n_values=n_values,
        bounds_digest="ab" * 32,
        roster=("a", "b"),
        key_fingerprint="cd" * 32,
        roster_digest="ef" * 32,
        previous=transcript.digest,
    )


def chained(facts: bytes, rounds: list[tuple[str, int, int]], secret: bytes = SECRET) -> Transcript:
    transcript = Transcript.begin(secret, facts)
    for label, first, second in rounds:
        transcript = transcript.advance(
            new_context(transcript, label=label), np.array([first, second], dtype=np.int64)
        )
    return transcript


histories = st.tuples(
    st.sampled_from([b"", b"run", b"ru"]),
    st.lists(st.tuples(st.sampled_from("xy"), st.integers(-1, 1), st.integers(0, 1)), max_size=3),
)


@given(one=histories, other=histories)
def test_digests_are_equal_exactly_when_histories_are(
    one: tuple[bytes, list[tuple[str, int, int]]], other: tuple[bytes, list[tuple[str, int, int]]]
) -> None:
    assert (chained(*one).digest == chained(*other).digest) == (one == other)
    assert (chained(*one) == chained(*other)) == (one == other)


def test_order_of_rounds_counts() -> None:
    forth = chained(b"", [("x", 1, 2), ("y", 3, 4)])
    assert forth != chained(b"", [("y", 3, 4), ("x", 1, 2)])


def test_resumed_transcript_goes_on_alike() -> None:
    before = chained(b"run", [("x", 1, 2)])
    resumed = Transcript.resume(SECRET, before.digest)
    assert resumed == before
    context, total = new_context(before), np.array([7, 8])
    assert resumed.advance(context, total) == before.advance(context, total)


def test_the_digest_shows_no_sum_to_who_lacks_the_secret() -> None:
    # An aggregator that knows the whole history and guesses the sum cannot test its guess.
    history = [("x", 1, 2)]
    assert chained(b"run", history, bytes(32)) != chained(b"run", history)
    begun = Transcript.begin(SECRET, b"run")
    context = new_context(begun, label="x")
    total = np.array([1, 2]).astype(">i8").tobytes()
    bare = bytes.fromhex(begun.digest) + bytes.fromhex(context.digest) + total
    assert hashlib.sha256(bare).hexdigest() != chained(b"run", history).digest


def test_a_context_that_does_not_follow_is_refused() -> None:
    begun = Transcript.begin(SECRET, b"")
    context = new_context(begun)
    after = begun.advance(context, np.array([1, 2]))
    with pytest.raises(ProtocolError, match="advance the transcript once"):
        after.advance(context, np.array([1, 2]))


@pytest.mark.parametrize(
    "total", [np.zeros(3, dtype=np.int64), np.zeros(2, dtype=np.int32), np.zeros(2)]
)
def test_a_sum_of_another_size_or_type_is_refused(total: np.ndarray) -> None:
    begun = Transcript.begin(SECRET, b"")
    with pytest.raises(ProtocolError, match="expected 2 of int64"):
        begun.advance(new_context(begun), total)


def test_only_a_digest_is_resumed() -> None:
    with pytest.raises(ProtocolError, match="transcript is 'abc'"):
        Transcript.resume(SECRET, "abc")


def test_transcript_does_not_leave() -> None:
    transcript = Transcript.begin(SECRET, b"run")
    assert repr(transcript) == f"<Transcript {transcript.digest[:16]}...>"
    assert len({transcript, Transcript.begin(SECRET, b"run")}) == 1
    assert transcript != transcript.digest
    with pytest.raises(TypeError, match="store its digest"):
        pickle.dumps(transcript)
