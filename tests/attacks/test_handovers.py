"""What entrants of a generation are handed: forged, replayed, unsigned, or not their own base."""

import dataclasses
import hashlib
from collections.abc import Callable

import pytest
from attack_kit.entering import (
    DATA,
    ENTRANT,
    MEMBERS,
    NAMES,
    RULES,
    TOLD,
    Banks,
    Handed,
    assert_no_number,
    assert_sum,
)

from bank_node.run import generations as participation
from bank_node.run import handover
from bank_node.run.generations import Entry, Generations
from fraudfed.consortium import model_seal
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import (
    FraudFedError,
    KeyMaterialError,
    ProtocolError,
)
from fraudfed.wire.messages import (
    Generation,
)

Patch = pytest.MonkeyPatch


# What is handed over


def forged(banks: Banks, *signers: str) -> Handed:
    """Return what a member that colludes hands over: well-formed, sealed, and another training.

    It signs it in its own name, and in the others' as well as it can.
    """
    signatures, sealed = banks.honestly_handed()
    data = model_seal.open_handover(
        sealed, holder=banks.package, run_id="r1", generation=TOLD.number
    )
    whole = banks.states[2].to_bytes()
    assert data.endswith(whole)
    other = dataclasses.replace(banks.states[2], base_score=0.875).to_bytes()
    sealed = model_seal.seal_handover(
        data[: -len(whole)] + other, holder=banks.package, run_id="r1", generation=TOLD.number
    )
    sha256 = hashlib.sha256(sealed).hexdigest()
    own = {name: MEMBERS.handover_signature(name, TOLD, sha256) for name in signers}
    return {**signatures, **own}, sealed


def test_a_base_that_one_member_forged_is_refused_by_the_entrant(banks: Banks) -> None:
    """The aggregator helps it: it gives out what it likes, with whatever signatures there are."""
    signatures, sealed = forged(banks, "bank-2")
    without = {name: one for name, one in signatures.items() if name == "bank-2"}
    theirs = {**signatures, "bank-0": signatures["bank-2"], "bank-1": signatures["bank-2"]}
    for given in (signatures, without, theirs, {}):
        with pytest.raises(KeyMaterialError, match=r"not signed by bank-0|has not signed it"):
            banks.enter(ENTRANT, TOLD, gives=(given, sealed))
        assert banks.checkpoints(ENTRANT).latest() is None


def test_control_without_the_signatures_a_forged_base_is_taken(
    banks: Banks, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(handover, "_check_signatures", lambda *_: None)
    entry = banks.enter(ENTRANT, TOLD, gives=forged(banks, "bank-2"))
    assert entry.start is not None


def test_signatures_of_another_place_are_refused(banks: Banks) -> None:
    signatures, sealed = banks.honestly_handed()
    sha256 = hashlib.sha256(sealed).hexdigest()
    for place in ({"number": 2}, {"first_step": 1}):
        elsewhere = TOLD.model_copy(update=place)
        other = {**signatures, "bank-1": MEMBERS.handover_signature("bank-1", elsewhere, sha256)}
        with pytest.raises(KeyMaterialError, match="not signed by bank-1"):
            banks.enter(ENTRANT, TOLD, gives=(other, sealed))
    assert banks.enter(ENTRANT, TOLD, gives=(signatures, sealed)).start is not None


def test_a_forged_training_that_all_have_signed_gives_no_number(banks: Banks) -> None:
    """No sum is ever made of parts for different trees: an honest one continues from its own."""
    assert_no_number(banks.sum(handover=forged(banks, *NAMES[:3])))


def test_control_without_the_base_in_the_facts_a_forged_training_passes(
    banks: Banks, monkeypatch: Patch
) -> None:
    original = participation.run_facts
    monkeypatch.setattr(
        participation,
        "run_facts",
        lambda *told, base, more_rows: original(*told, base=b"", more_rows=more_rows),
    )
    assert_sum(banks.sum(handover=forged(banks, *NAMES[:3])))


def with_own_state(banks: Banks) -> None:
    """Let the entrant have finished the step itself, before it was dropped."""
    own = dataclasses.replace(banks.behind(ENTRANT, 2), cohort=NAMES)
    banks.checkpoints(ENTRANT).save(own)
    agreements = MEMBERS.agreements(banks.root, ENTRANT)
    MEMBERS.agree(
        agreements,
        MEMBERS.all_ready(Generation(number=0, banks=NAMES)),
        ENTRANT,
        data_sha256=DATA,
        rules=RULES,
    )
    agreements.begin(tuple((name, MEMBERS.key(name, 0).public) for name in NAMES))


#: It was dropped from generation 1, and asked to rejoin.
BACK = MEMBERS.all_ready(TOLD.model_copy(update={"number": 2}), more_rows={ENTRANT: 8})


def enter_back(banks: Banks, given: Callable[[bytes], bytes]) -> Entry:
    step_of_own = tuple(
        MEMBERS.answer(one.bank, 2, step=2, more_rows=one.more_rows) for one in BACK.ready
    )
    told = BACK.model_copy(update={"ready": step_of_own})
    banks.agree(ENTRANT, told)
    head = b'{"counted":["bank-0","bank-1","bank-2"]}'
    data = len(head).to_bytes(4, "big") + head
    base = given(banks.states[2].to_bytes())
    sealed = model_seal.seal_handover(
        data + base, holder=banks.package, run_id="r1", generation=told.number
    )
    sha256 = hashlib.sha256(sealed).hexdigest()
    signatures = {name: MEMBERS.handover_signature(name, told, sha256) for name in NAMES[:3]}
    return banks.enter(ENTRANT, told, gives=(signatures, sealed), agrees=False)


def other_base(banks: Banks) -> Callable[[bytes], bytes]:
    other = dataclasses.replace(banks.states[2], base_score=0.875).to_bytes()
    return lambda base: other


def test_a_base_that_is_not_the_entrants_own_state_is_refused(banks: Banks) -> None:
    """All that stay may be at fault; what it has computed itself, it knows."""
    with_own_state(banks)
    with pytest.raises(ProtocolError, match="differs from this bank's own state after step 2"):
        enter_back(banks, other_base(banks))
    latest = banks.checkpoints(ENTRANT).latest()
    assert latest is not None
    assert latest.generation == 0
    assert enter_back(banks, lambda base: base).start is not None


def test_control_without_its_own_state_an_entrant_takes_another_base(
    banks: Banks, monkeypatch: Patch
) -> None:
    with_own_state(banks)
    monkeypatch.setattr(Generations, "_require_own_state", lambda *_: None)
    assert enter_back(banks, other_base(banks)).start is not None


def replayed(banks: Banks, *, run_id: str, generation: int) -> Handed:
    """Return what honest banks have sealed at another time, or in another run, signed for now."""
    _, sealed = banks.honestly_handed()
    data = model_seal.open_handover(
        sealed, holder=banks.package, run_id="r1", generation=TOLD.number
    )
    sealed = model_seal.seal_handover(
        data, holder=banks.package, run_id=run_id, generation=generation
    )
    sha256 = hashlib.sha256(sealed).hexdigest()
    return {name: MEMBERS.handover_signature(name, TOLD, sha256) for name in NAMES[:3]}, sealed


OTHER_PLACES = [("r1", 0), ("r1", 2), ("r2", 1)]


@pytest.mark.parametrize(("run_id", "generation"), OTHER_PLACES)
def test_a_handover_of_another_generation_or_run_is_refused(
    banks: Banks, run_id: str, generation: int
) -> None:
    old = replayed(banks, run_id=run_id, generation=generation)
    with pytest.raises(KeyMaterialError, match="does not open"):
        banks.enter(ENTRANT, TOLD, gives=old)
    assert banks.checkpoints(ENTRANT).latest() is None


@pytest.mark.parametrize(("run_id", "generation"), OTHER_PLACES)
def test_control_without_its_place_an_old_handover_is_taken(
    banks: Banks, monkeypatch: Patch, run_id: str, generation: int
) -> None:
    monkeypatch.setattr(model_seal, "_place", lambda run_id, generation: b"")
    key = model_seal._key
    monkeypatch.setattr(model_seal, "_key", lambda holder, domain, run_id: key(holder, domain, ""))
    old = replayed(banks, run_id=run_id, generation=generation)
    assert banks.enter(ENTRANT, TOLD, gives=old).start is not None


def test_a_server_cannot_read_what_is_handed_over(banks: Banks, package: KeyPackage) -> None:
    banks.enter("bank-0", TOLD)
    assert banks.states[2].to_bytes()[80:] not in banks.handed
    stranger = KeyPackage(package.private_key, bytes(32))
    with pytest.raises(FraudFedError):
        model_seal.open_handover(banks.handed, holder=stranger, run_id="r1", generation=1)
