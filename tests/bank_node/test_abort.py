"""What the other banks learn of a failure: one constant by its exact class, or nothing."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bank_node
import fraudfed
from bank_node.http.retry import RetryPolicy
from bank_node.run import abort as module
from bank_node.run.abort import abort_reason, tell_others
from fraudfed.errors import (
    BoundError,
    DataError,
    FraudFedError,
    StateError,
    SumError,
    TransportError,
    UnavailableError,
)
from fraudfed.wire.messages import Abort, AbortReason

#: What a bank could say of its rows in the text of an error.
SECRETS = ("DE89 3704 0044", "/data/q3.csv", "312", "iban")


def below(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    """Return a class and everything derived from it, at any depth."""
    yield cls
    for child in cls.__subclasses__():
        yield from below(child)


def every_class() -> list[type[BaseException]]:
    """Return every class of error that a bank node can raise on purpose."""
    for package in (fraudfed, bank_node):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith("fraudfed.lab") and "__main__" not in found.name:
                importlib.import_module(found.name)
    return [
        cls
        for cls in dict.fromkeys(below(FraudFedError))
        if cls.__module__.startswith(("fraudfed.", "bank_node."))
    ]


class Told:
    """A client that keeps what the others are told, as bytes."""

    def __init__(self, failure: FraudFedError | None = None) -> None:
        self.failure = failure
        self.bodies: list[bytes] = []
        self.patience: float | None = None

    def be_patient(self, retry: RetryPolicy) -> None:
        self.patience = retry.patience_seconds

    def abort(self, run_id: str, reason: AbortReason) -> None:
        self.bodies.append(f"{run_id} ".encode() + Abort(reason=reason).model_dump_json().encode())
        if self.failure is not None:
            raise self.failure


def told(error: BaseException) -> list[bytes]:
    client = Told()
    tell_others(client, "r", error)  # type: ignore[arg-type]
    return client.bodies


def test_every_class_of_error_is_in_the_table() -> None:
    """A new class needs a decision: whether it ends the run, and what the others then learn."""
    missing = [cls for cls in every_class() if cls not in module._REASONS]
    assert not missing
    assert set(module._REASONS.values()) == {None, *AbortReason}


def test_no_class_passes_its_message_on() -> None:
    for cls in every_class():
        bodies = {tuple(told(cls(text))) for text in (*SECRETS, "", " ".join(SECRETS))}
        assert len(bodies) == 1, cls
        assert not [one for one in SECRETS if one.encode() in b"".join(*bodies)]


@given(texts=st.lists(st.text(max_size=80), min_size=2, max_size=4))
def test_what_the_rows_alone_can_cause_is_told_in_the_same_bytes(texts: list[str]) -> None:
    """Faults of the data, of the program, and classes that nobody has thought of: no difference."""

    class UnforeseenError(DataError):
        """A kind of its own for a fault of a bank's rows."""

    class UnforeseenStateError(StateError):
        """The exact class counts, so that a kind tells nothing by where it is derived from."""

    foreseen = (DataError, ValueError, OverflowError, MemoryError)
    causes = (*foreseen, UnforeseenError, UnforeseenStateError)
    assert len({tuple(told(cause(text))) for cause in causes for text in texts}) == 1
    assert told(DataError(texts[0])) == told(AssertionError())


def test_a_sum_out_of_bounds_is_told_like_one_that_does_not_verify() -> None:
    assert told(BoundError("element 7 is 312")) == told(SumError("tag"))
    assert abort_reason(SumError("tag")) is AbortReason.SUM


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), StateError("disk full")])
def test_what_a_new_start_can_cure_is_told_to_nobody(error: BaseException) -> None:
    assert abort_reason(error) is None
    assert told(error) == []


def test_a_bank_that_cannot_tell_does_not_hide_its_own_failure() -> None:
    client = Told(UnavailableError("no way to the aggregator"))
    tell_others(client, "r", SumError("did not open"))  # type: ignore[arg-type]
    assert len(client.bodies) == 1
    assert client.patience is not None
    assert client.patience < 60, "its operator is not kept waiting"


def test_the_details_of_a_failure_that_is_told_stay_at_home(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"):
        told(DataError("row 7: 312"))
    assert "stopped" in caplog.text
    assert "312" not in caplog.text, "the bank's error is printed once, by the command"


def test_control_a_reason_made_of_the_error_shows_rows_and_kinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With class and message in it, as free text, every test above sees a difference."""
    monkeypatch.setattr(module, "abort_reason", lambda error: f"{type(error).__name__}: {error}")
    assert told(DataError("312")) != told(DataError("600"))
    assert told(DataError("x")) != told(ValueError("x"))
    assert b"312" in told(TransportError("312"))[0]
