"""``runs create --like``: what is repeated for each kind of run, and how the price is asked for."""

import io
import sys
from typing import Any

import pytest
from aggregator.commands.like_run import ask_for_the_price, repeated
from examples.messages import EXAMPLES
from examples.risk import risk_run
from judging.payments import CONTRACT, run_spec

from fraudfed.consortium.identity import Identity
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import KeyEpoch, KeyEpochStatus, RunKind, RunSpec, RunState, RunStatus

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d")


def example(kind: type[Any], **changes: Any) -> Any:
    return EXAMPLES[kind].model_copy(update=changes)


def epoch_of(*banks: str) -> KeyEpochStatus:
    roster = tuple(Identity.generate().member(bank) for bank in banks)
    return example(KeyEpochStatus, key_epoch=example(KeyEpoch, epoch=7, roster=roster))


def finished(spec: RunSpec) -> RunStatus:
    return example(
        RunStatus, run_id="r7", spec=spec, state=RunState.FINISHED, cohort=BANKS, members=BANKS
    )


@pytest.mark.parametrize(
    "spec",
    [
        run_spec(kind=RunKind.TRAINING, search=None),
        run_spec(kind=RunKind.SEARCH),
        risk_run(1),
    ],
    ids=lambda spec: spec.kind.value,
)
def test_each_kind_is_repeated_as_it_was_but_for_the_bank_and_the_key(spec: RunSpec) -> None:
    status = finished(spec)
    found = repeated(status, epoch_of(*BANKS), without=("bank-c",), name=None, shared_risk=())
    changes = {"name": f"{spec.name} without bank-c", "key_epoch": 7, "without": ("bank-c",)}
    assert found == spec.model_copy(update=changes)
    # A description that an aggregator and banks accept: every rule of the messages holds.
    assert RunSpec.model_validate(found.model_dump()) == found
    # A bank that has left needs not be left out, and one that came later is.
    later = epoch_of("bank-a", "bank-b", "bank-d", "bank-e")
    found = repeated(status, later, without=("bank-c",), name="again", shared_risk=())
    assert (found.name, found.without) == ("again", ("bank-e",))
    with pytest.raises(ConfigurationError, match="2 banks of run r7 stay in key epoch 7"):
        repeated(status, epoch_of(*BANKS), without=("bank-c", "bank-d"), name=None, shared_risk=())


def test_other_risk_tables_go_with_a_contract_alone() -> None:
    def again(spec: RunSpec) -> RunSpec:
        return repeated(
            finished(spec), epoch_of(*BANKS), without=("bank-c",), name=None, shared_risk=("t9",)
        )

    contract = again(run_spec()).contract
    assert contract == CONTRACT.model_copy(update={"shared_risk": ("t9",)})
    with pytest.raises(ConfigurationError, match="is of kind risk and uses no risk tables"):
        again(risk_run(1))


class Terminal(io.StringIO):
    """Stands for a person at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (run_spec(), "the two models show what it changed"),
        (risk_run(1), "of every day: its tables"),
    ],
    ids=["search", "risk"],
)
def test_a_person_is_asked_and_may_say_no(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spec: RunSpec,
    words: str,
) -> None:
    def asked(answer: str) -> str:
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        try:
            ask_for_the_price(finished(spec), ("bank-c",), agreed=False)
        finally:
            told = capsys.readouterr()
            assert told.out == ""
        return told.err

    text = asked("y\n")
    assert "pays one of its set_changes" in text
    assert words in text
    assert "Have the banks agreed to this?" in text
    for answer in ("n\n", "\n"):
        with pytest.raises(ConfigurationError, match="nothing was opened; ask the banks first"):
            asked(answer)
    # Told all the same, and not asked.
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ask_for_the_price(finished(spec), ("bank-c",), agreed=True)
    assert words in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="nobody is there to ask; give --yes"):
        ask_for_the_price(finished(spec), ("bank-c",), agreed=False)
