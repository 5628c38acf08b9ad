"""With whom a bank goes on: every answer of an aggregator, honest or not, and what follows of it.

The aggregator is a script here: it says what a test wants it to, in an order that no real one can
be brought to. The real one takes part in test_generations.py.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from examples.ledgers import ledger_at
from examples.run_contexts import make_context
from federations.agreements import AgreeingBanks
from federations.scripted import Script, signed_by
from hypothesis import given
from hypothesis import strategies as st

from bank_node.config import CohortRules
from bank_node.data.contract import load_training_rows
from bank_node.jobs.training import TrainingWork
from bank_node.run.agreement.facts import run_facts
from bank_node.run.generations import Entry, Generations, rows_bound
from bank_node.run.reveals import check_joinable
from bank_node.state.agreement import Agreements
from bank_node.state.checkpoints import Checkpoint, Checkpoints
from bank_node.state.ledger import Reveal
from bank_node.state.outbox import Outbox
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.round_log import RoundLog
from bank_node.vault.vault import PlainVault
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.model_seal import seal_handover
from fraudfed.errors import CohortError, ForbiddenError, FraudFedError, ProtocolError, StateError
from fraudfed.parameters import BoosterParams
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.wire.messages import (
    Generation,
    HandoverSignatures,
    KeyEpoch,
    PrivacySpec,
    PublicKeyMessage,
    ReadyBank,
    RunState,
    RunStatus,
    SealedKey,
)

FOUR = ("a", "b", "c", "d")
MEMBERS = AgreeingBanks(FOUR, "r")
DATA = "1" * 64
ROW_KEYS = ("0" * 32, "1" * 32)
#: Rows of bank a; the least power of two from there on is 64.
N_ROWS = 60
PARAMETERS = {"num_boost_round": 3, "max_depth": 2, "max_bin": 8}


class Place:
    """One bank's disk, and what it knows of the run."""

    def __init__(self, root: Path, run: PinnedRun, key_epoch: KeyEpoch, package: KeyPackage):
        self.root, self.run, self.key_epoch, self.package = root, run, key_epoch, package
        self.members = MEMBERS
        self.checkpoints = self.of("a")
        self.log = RoundLog(root / "rounds.log")
        self.seen: list[tuple[tuple[str, ...], int]] = []

    def of(self, bank: str) -> Checkpoints:
        return Checkpoints(self.root / bank, run_id=self.run.run_id, bank=bank, vault=PlainVault())

    def agreements(self, bank: str) -> Agreements:
        return self.members.agreements(self.root, bank)

    def agree(self, told: Generation, bank: str = "a", **changes: Any) -> None:
        """Let a bank have agreed to a generation."""
        settings = {"data_sha256": DATA, "rules": CohortRules(tolerated_colluders=1), **changes}
        self.members.agree(self.agreements(bank), told, bank, **settings)

    def given(
        self, data: bytes, told: Generation, *signers: str, **place: Any
    ) -> tuple[HandoverSignatures, bytes]:
        """Return a handover as an entrant gets it: signed by all that stay, or by ``signers``."""
        sealed = sealed_for(self, data, **place)
        sha256 = hashlib.sha256(sealed).hexdigest()
        names = signers or tuple(name for name in told.banks if name not in told.entrants)
        found = {name: self.members.handover_signature(name, told, sha256) for name in names}
        return signed_by(found), sealed

    def status(self, generation: Generation, **changes: Any) -> RunStatus:
        """Return a status; to a generation that has begun all of its banks have agreed."""
        if changes.get("state", RunState.TRAINING) is RunState.TRAINING and not generation.ready:
            generation = self.members.all_ready(generation)
        settings: dict[str, Any] = {
            "state": RunState.TRAINING,
            "members": self.run.cohort,
            "round_number": generation.first_round,
            **changes,
        }
        return RunStatus(
            run_id=self.run.run_id,
            spec=self.run.spec,
            cohort=self.run.cohort,
            public_key=self.run.public_key,
            generation=generation,
            ciphertexts=0,
            bytes_received=0,
            created_at=0,
            **settings,
        )

    def bank(
        self,
        client: Script,
        table: TrainingTable,
        *,
        name: str = "a",
        data_sha256: str = DATA,
        tolerated_colluders: int = 1,
        set_changes: int = 0,
        timeout_seconds: float = 5.0,
        agrees: bool = True,
    ) -> Generations:
        """Return a bank; it has agreed to what it is told first, if that has begun with it."""
        client.bank = name
        first = client.statuses[0] if client.statuses else None
        if agrees and first is not None and first.state is RunState.TRAINING:
            told = first.generation
            if name in {one.bank for one in told.ready}:
                rules = CohortRules(tolerated_colluders=tolerated_colluders)
                self.agree(told, name, data_sha256=data_sha256, rules=rules)
        context = make_context(
            name,
            client,
            run=self.run,
            key_epoch=self.key_epoch,
            package=self.package,
            tolerated_colluders=tolerated_colluders,
            set_changes=set_changes,
            cohort_timeout_seconds=timeout_seconds,
            identity=self.members.identities[name],
            agreements=self.agreements(name),
            outbox=Outbox(self.root / f"{name}.sealed"),
            checkpoints=self.of(name),
            log=self.log,
            ledger=ledger_at(self.root / f"{name}.ledger"),
            progress=SimpleNamespace(banks=lambda names, total: self.seen.append((names, total))),
        )
        work = TrainingWork(
            params=BoosterParams.parse(PARAMETERS),
            table=table,
            validation=None,
            rows_read=table.n_rows,
            data_sha256=data_sha256,
            row_keys=ROW_KEYS,
            progress=context.progress,
            threads=1,
        )
        return Generations(context, work)


@pytest.fixture(scope="module")
def key_epoch(small_package) -> KeyEpoch:
    return KeyEpoch(
        epoch=1,
        steward="a",
        roster=MEMBERS.roster,
        public_key=PublicKeyMessage.model_validate(small_package.public_key.to_hex()),
        sealed=tuple(SealedKey(name=name, box="AAAA") for name in FOUR),
        signature="0" * 128,
    )


@pytest.fixture
def place(tmp_path, make_spec, key_epoch, small_package) -> Place:
    run = PinnedRun(
        run_id="r",
        spec=make_spec(parameters=PARAMETERS),
        cohort=FOUR,
        public_key=key_epoch.public_key,
    )
    return Place(tmp_path, run, key_epoch, small_package)


@pytest.fixture
def table(tmp_path, make_rows, contract) -> TrainingTable:
    path = tmp_path / "rows.parquet"
    make_rows(0, n_rows=N_ROWS).to_parquet(path)
    return load_training_rows(path, contract).table


@pytest.fixture
def states(table) -> dict[int, TrainingState]:
    """Training after each step: any state of the right run does, as no sum is made here."""
    found: dict[int, TrainingState] = {}
    train(
        BoosterParams.parse(PARAMETERS),
        table,
        SoloCommunicator(),
        on_step=lambda state: found.update({state.n_steps: state}),
    )
    return found


@pytest.fixture
def save(place, states) -> Callable[..., Checkpoint]:
    """Keep a checkpoint behind a step of generation 0, as ``Entry.after`` makes it."""

    def keep(step: int, *, bank: str = "a", **changes: Any) -> Checkpoint:
        settings: dict[str, Any] = {
            "run_id": "r",
            "bank": bank,
            "step": step,
            "generation": 0,
            "cohort": FOUR,
            "first_step": 0,
            "first_round": 0,
            "round_number": 3 * step,
            "transcript": "2" * 64,
            "facts_sha256": "3" * 64,
            "data_sha256": DATA,
            "counted": FOUR if step else (),
            "more_rows": 0,
            "state": states[step].to_bytes() if step else b"",
        }
        checkpoint = Checkpoint(**{**settings, **changes})
        place.of(bank).save(checkpoint)
        told = MEMBERS.all_ready(
            generation(checkpoint.generation, checkpoint.cohort, first_step=checkpoint.first_step)
        )
        place.agree(told, bank)
        place.agreements(bank).begin(tuple((one.bank, one.key) for one in told.ready))
        return checkpoint

    return keep


def generation(number: int = 0, banks: tuple[str, ...] = FOUR, **changes: Any) -> Generation:
    return Generation(number=number, banks=banks, **changes)


def ready(*banks: tuple[str, int, int], number: int = 1) -> tuple[ReadyBank, ...]:
    return tuple(
        MEMBERS.answer(name, number, step=step, more_rows=rows) for name, step, rows in banks
    )


def entry_of(participation: Generations) -> Entry:
    entry = participation.next_entry()
    assert entry is not None
    return entry


# What is told of the number of rows


@given(st.integers(0, 2**40))
def test_a_power_of_two_hides_the_number_of_rows(n_rows: int) -> None:
    bound = rows_bound(n_rows)
    assert bound & (bound - 1) == 0
    assert bound >= max(n_rows, 1)
    if n_rows:
        assert bound < 2 * n_rows


def test_a_bank_that_comes_in_late_says_nothing_of_its_rows_under_privacy_terms(
    place, table
) -> None:
    told = generation()
    bank = place.bank(Script(place.status(told)), table)
    assert bank._more_rows(told, None) == 64
    privacy = PrivacySpec(epsilon=1.0, tolerated_colluders=1, declared_rows=1000)
    spec = place.run.spec.model_copy(update={"privacy": privacy})
    bank._run = place.run.model_copy(update={"spec": spec})
    assert bank._more_rows(told, None) == 0


# Beginning and going on


def test_a_finished_run_has_no_entry(place, table) -> None:
    script = Script(place.status(generation(), state=RunState.FINISHED))
    assert place.bank(script, table).next_entry() is None


def test_the_beginning_is_kept_before_anything_is_summed(place, table) -> None:
    told = generation()
    entry = entry_of(place.bank(Script(place.status(told)), table))
    kept = place.of("a").latest()
    assert entry.checkpoint == kept
    assert (kept.step, kept.generation, kept.cohort, kept.state) == (0, 0, FOUR, b"")
    told = MEMBERS.all_ready(told)
    facts = run_facts(place.run, place.key_epoch, told, base=b"", more_rows=0)
    begun = Transcript.begin(place.package.expose_secret(), facts)
    assert kept.transcript == begun.digest == entry.at.transcript.digest
    assert (entry.banks, entry.start, entry.at.round_number, entry.at.step) == (FOUR, None, 0, 0)
    # Started again at once: the same, and nothing is begun anew.
    again = entry_of(place.bank(Script(place.status(told, round_number=2)), table))
    assert again.checkpoint == kept
    assert again.at.closed_rounds == 2


@pytest.mark.parametrize("contributed", [(), ("a",), ("b", "c")])
def test_a_bank_goes_on_from_its_newest_checkpoint(
    place, table, save, states, contributed: tuple[str, ...]
) -> None:
    save(1)
    kept = save(2)
    status = place.status(generation(), round_number=8, contributed=contributed)
    entry = entry_of(place.bank(Script(status), table))
    assert entry.checkpoint == kept
    assert entry.start is not None
    assert entry.start.to_bytes() == states[2].to_bytes()
    at = entry.at
    assert (at.round_number, at.step, at.closed_rounds) == (6, 2, 8)
    assert at.transcript.digest == kept.transcript
    assert (at.contributed, at.catches_up) == ("a" in contributed, False)


def test_a_checkpoint_behind_a_step_counts_all_that_took_part(place, table, save, states) -> None:
    save(1, counted=("a", "b"), generation=1, first_step=1, first_round=3, more_rows=64)
    told = generation(1, first_step=1, first_round=3)
    entry = entry_of(place.bank(Script(place.status(told)), table))
    after = entry.after(states[2], round_number=9, transcript="4" * 64)
    assert (after.step, after.generation, after.first_step, after.first_round) == (2, 1, 1, 3)
    assert (after.counted, after.more_rows, after.round_number) == (FOUR, 0, 9)
    assert after.state == states[2].to_bytes()


def test_other_data_are_refused(place, table, save) -> None:
    save(1)
    script = Script(place.status(generation()))
    with pytest.raises(StateError, match="the data differ"):
        place.bank(script, table, data_sha256="9" * 64).next_entry()


# An aggregator that does not say what it said before


def test_an_aggregator_that_went_back_to_an_older_generation_is_refused(place, table, save) -> None:
    save(1, generation=2, first_step=1, first_round=3)
    script = Script(place.status(generation(1, first_step=1, first_round=3)))
    with pytest.raises(StateError, match=r"agreed to generation 2.*there is generation 1"):
        place.bank(script, table).next_entry()


@pytest.mark.parametrize(
    "lie",
    [{"banks": ("a", "b", "c")}, {"first_step": 2}, {"first_round": 4}],
    ids=["banks", "first step", "first round"],
)
def test_a_generation_that_is_described_anew_is_refused(place, table, save, lie) -> None:
    save(1, generation=1, first_step=1, first_round=3)
    told = MEMBERS.all_ready(generation(1, first_step=1, first_round=3))
    place.bank(Script(place.status(told)), table).next_entry()
    script = Script(place.status(told.model_copy(update=lie)))
    with pytest.raises(
        ProtocolError, match=r"generation 1.*(otherwise than before|expected one|is said to begin)"
    ):
        place.bank(script, table).next_entry()


@pytest.mark.parametrize("state", [RunState.TRAINING, RunState.GATHERING])
@pytest.mark.parametrize(
    ("banks", "error"),
    [(("a", "b", "x"), ProtocolError), (("a", "b", "b"), ProtocolError), (("a", "b"), CohortError)],
)
def test_banks_that_this_one_does_not_sum_with_get_nothing(
    place, table, save, state: RunState, banks, error: type[FraudFedError]
) -> None:
    """Neither an agreement nor a checkpoint, whatever state the run is said to be in."""
    kept = save(1)
    script = Script(place.status(generation(1, banks), state=state))
    with pytest.raises(error, match="generation 1"):
        place.bank(script, table).next_entry()
    assert [call[0] for call in script.calls] == ["run"]
    assert place.of("a").latest() == kept


def test_a_generation_of_too_few_banks_for_this_one_is_refused(place, table) -> None:
    script = Script(place.status(generation(1, ("a", "b", "c"))))
    with pytest.raises(CohortError, match=r"of 3 banks .*, this bank takes part from 4 on"):
        place.bank(script, table, tolerated_colluders=2).next_entry()
    assert [call[0] for call in script.calls] == ["run"]


def test_a_bank_waits_for_more_rather_than_agree_to_too_few(place, table) -> None:
    """Nothing is sent until the bank that was missing is in the generation again."""
    few = place.status(generation(1, ("a", "b", "c")), state=RunState.GATHERING)
    told = generation(2, FOUR)
    gathering = place.status(told, state=RunState.GATHERING)
    whole = place.status(told)
    script = Script(few, few, gathering, gathering, gathering, whole, whole)
    entry = place.bank(script, table, tolerated_colluders=2).next_entry()
    assert entry is not None
    assert entry.banks == FOUR
    assert [call for call in script.calls if call[0] != "run"] == [("ready", 2, 0, 64)]
    # If nobody comes, a person is told why.
    script = Script(few, few)
    with pytest.raises(CohortError, match=r"of 3 banks .*, this bank takes part from 4 on"):
        place.bank(script, table, tolerated_colluders=2, timeout_seconds=0).next_entry()
    assert {call[0] for call in script.calls} == {"run"}


# Entering a generation


def test_a_generation_goes_on_from_the_step_that_all_have(place, table, save, states) -> None:
    save(1)
    save(2)
    told = generation(1, ("a", "b", "c"), first_step=1, first_round=7)
    entry = entry_of(place.bank(Script(place.status(told)), table))
    assert entry.banks == ("a", "b", "c")
    kept = entry.checkpoint
    assert (kept.step, kept.generation, kept.round_number) == (1, 1, 7)
    # What is kept and agreed on is the base, not what was made of it.
    assert kept.state == states[1].to_bytes()
    assert entry.start is not None
    assert entry.start.to_bytes() == states[1].regrouped(more_rows=0).to_bytes()
    told = MEMBERS.all_ready(told)
    facts = run_facts(place.run, place.key_epoch, told, base=kept.state, more_rows=0)
    assert kept.transcript == Transcript.begin(place.package.expose_secret(), facts).digest
    # Started again from that: the same.
    again = entry_of(place.bank(Script(place.status(told)), table))
    assert again.checkpoint == kept
    assert again.start is not None
    assert again.start.to_bytes() == entry.start.to_bytes()


def test_a_step_that_is_not_there_ends_an_older_state_directory(place, table, save) -> None:
    save(1)
    told = generation(1, ("a", "b", "c"), first_step=3, first_round=9)
    with pytest.raises(StateError, match="begins at step 3, which this state directory does not"):
        place.bank(Script(place.status(told)), table).next_entry()


def test_a_generation_from_the_beginning_needs_no_checkpoint(place, table) -> None:
    told = generation(
        1, ("a", "b", "c"), first_round=2, ready=ready(("a", 0, 64), ("b", 0, 0), ("c", 0, 0))
    )
    entry = entry_of(place.bank(Script(place.status(told)), table))
    assert (entry.start, entry.at.round_number, entry.checkpoint.state) == (None, 2, b"")


ENTRY = {"first_step": 2, "first_round": 9, "entrants": ("d",)}
ALL_READY = ready(("a", 2, 0), ("b", 2, 0), ("c", 2, 0), ("d", 0, 256))


def test_an_entrant_begins_where_the_others_do(place, table, save, states) -> None:
    """The bytes that a bank hands over bring the entrant to the same context."""
    save(1, counted=("a", "b", "c"), cohort=("a", "b", "c"))
    save(2, counted=("a", "b", "c"), cohort=("a", "b", "c"))
    told = generation(1, ready=ALL_READY, **ENTRY)
    first = Script(place.status(told))
    mine = entry_of(place.bank(first, table))
    assert mine.checkpoint.more_rows == 256
    (handed,) = first.handed
    assert states[2].to_bytes() not in handed, "it is sealed"
    second = Script(place.status(told))
    # It is asked for until it is there.
    sha256 = hashlib.sha256(handed).hexdigest()
    assert first.signatures == [MEMBERS.handover_signature("a", told, sha256)]
    signatures = {name: MEMBERS.handover_signature(name, told, sha256) for name in "abc"}
    second.gives = [None, (signed_by(signatures), handed)]
    theirs = entry_of(place.bank(second, table, name="d", data_sha256="8" * 64))
    assert [call for call in second.calls if call[0] != "run"] == [("handover", 1)] * 2
    same = ("step", "round_number", "transcript", "facts_sha256", "state", "counted", "more_rows")
    for name in same:
        assert getattr(theirs.checkpoint, name) == getattr(mine.checkpoint, name), name
    assert mine.start is not None
    assert theirs.start is not None
    assert theirs.start.to_bytes() == mine.start.to_bytes()
    assert mine.start.to_bytes() == states[2].regrouped(more_rows=256).to_bytes()


def test_rows_that_were_counted_before_are_not_counted_again(place, table, save) -> None:
    save(1)
    save(2, generation=1, cohort=("a", "b", "c"), first_step=1)
    told = generation(2, **ENTRY)
    told = MEMBERS.all_ready(told, more_rows={"d": 256})
    entry = entry_of(place.bank(Script(place.status(told)), table))
    assert entry.checkpoint.more_rows == 0


def sealed_for(place: Place, data: bytes, *, run_id: str = "r", number: int = 1) -> bytes:
    return seal_handover(data, holder=place.package, run_id=run_id, generation=number)


HEAD = b'{"counted":["a","b","c"]}'
BODY = len(HEAD).to_bytes(4, "big") + HEAD


@pytest.mark.parametrize("forgery", ["altered", "generation", "run", "cut off"])
def test_a_handover_that_is_not_of_this_generation_is_refused(
    place, table, states, forgery: str
) -> None:
    data = BODY + states[2].to_bytes()
    told = generation(1, ready=ALL_READY, **ENTRY)
    good = place.given(data, told)
    signatures, sealed = good
    forged = {
        "altered": (signatures, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        "generation": place.given(data, told, number=2),
        "run": place.given(data, told, run_id="q"),
        "cut off": (signatures, sealed[: len(sealed) // 2]),
    }[forgery]
    for handed, is_good in ((forged, False), (good, True)):
        script = Script(place.status(told))
        script.gives = [handed]
        entrant = place.bank(script, table, name="d")
        if is_good:
            assert entry_of(entrant).checkpoint.state == states[2].to_bytes()
        else:
            with pytest.raises(FraudFedError):
                entrant.next_entry()
            assert place.of("d").latest() is None, "nothing of it was kept"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\x02[]",
        b"\0\0\0\x02{}",
        b"\xff\xff\xff\xff{}",
        b'\0\0\0\x10{"counted":null}',
        b"\0\0\0\x03\xff\xfe\xfd",
    ],
)
def test_a_handover_of_another_form_is_refused(place, table, data: bytes) -> None:
    told = generation(1, ready=ALL_READY, **ENTRY)
    script = Script(place.status(told))
    script.gives = [place.given(data, told)]
    with pytest.raises(ProtocolError, match="handover is malformed"):
        place.bank(script, table, name="d").next_entry()


def test_a_handover_that_holds_no_training_is_refused_and_not_kept(place, table, states) -> None:
    whole = states[2].to_bytes()
    for base in (b"", b"nothing", whole[:-9], whole[:-1] + bytes([whole[-1] ^ 1])):
        told = generation(1, ready=ALL_READY, **ENTRY)
        script = Script(place.status(told))
        script.gives = [place.given(BODY + base, told)]
        with pytest.raises(ProtocolError, match="holds no state of this run"):
            place.bank(script, table, name="d").next_entry()
        assert place.of("d").latest() is None


def test_a_handover_of_another_step_is_refused(place, table, states) -> None:
    """The state says itself how many steps it has behind it."""
    told = generation(1, ready=ALL_READY, **ENTRY)
    script = Script(place.status(told))
    script.gives = [place.given(BODY + states[3].to_bytes(), told)]
    with pytest.raises(ProtocolError, match="of step 3, expected 2"):
        place.bank(script, table, name="d").next_entry()
    assert place.of("d").latest() is None


# Agreeing


@pytest.mark.parametrize("step", [None, 0, 1, 2])
def test_a_bank_agrees_with_the_steps_it_has_finished(place, table, save, step) -> None:
    for number in range(0 if step is None else step + 1):
        save(number)
    told = generation(1, ("a", "b", "c"))
    first = {"first_step": step or 0, "first_round": 9}
    begun = generation(1, ("a", "b", "c"), **first)
    gathering = place.status(told, state=RunState.GATHERING, round_number=9)
    # Asked twice, as one that has a checkpoint first reads what the others have closed.
    script = Script(gathering, *([gathering] if step is not None else []))
    participation = place.bank(script, table)
    if step is not None:
        caught = entry_of(participation)
        assert caught.at.catches_up
        assert (caught.banks, caught.at.step) == (FOUR, step)
    agreed = told
    begun = MEMBERS.all_ready(begun)
    script.statuses += [
        place.status(agreed, state=RunState.GATHERING),
        place.status(agreed, state=RunState.GATHERING),
        place.status(begun),
        place.status(begun),
    ]
    entry = entry_of(participation)
    assert entry.checkpoint.generation == 1
    # Rows that were never counted are announced, as a power of two.
    expected = 64 if step is None else 0
    assert [one for one in script.calls if one[0] == "ready"] == [("ready", 1, step or 0, expected)]
    assert place.seen == [(("a",), 3)] * 2
    # It waits for this very generation.
    assert script.calls[-2] == ("run", RunState.GATHERING, 1)


def test_another_generation_is_agreed_to_anew(place, table) -> None:
    one, two = generation(1, ("a", "b", "c")), generation(2, entrants=("d",))
    gathering = [place.status(told, state=RunState.GATHERING) for told in (one, two)]
    begun = place.status(two)
    script = Script(
        *(gathering[0], gathering[0], gathering[1]),
        *(gathering[1], gathering[1], begun, begun),
    )
    entry = entry_of(place.bank(script, table))
    assert entry.checkpoint.generation == 2
    assert [call[1] for call in script.calls if call[0] == "ready"] == [1, 2]


def test_those_that_do_not_agree_are_named(place, table) -> None:
    told = generation(1, ready=ready(("b", 0, 0)))
    gathering = place.status(told, state=RunState.GATHERING)
    script = Script(gathering, *[gathering] * 9)
    with pytest.raises(CohortError, match=r"c, d did not agree to generation 1 within 0 s"):
        place.bank(script, table, timeout_seconds=0.0).next_entry()


@pytest.mark.parametrize(
    ("counted", "entrants", "announced"),
    [
        ({1: FOUR, 2: FOUR}, (), 0),
        ({1: FOUR, 2: FOUR}, ("a",), 64),
        # Its rows were not in the preparation; they may go on from the step before it came in.
        ({1: ("b", "c", "d"), 2: FOUR}, (), 64),
        ({1: ("b", "c", "d"), 2: ("b", "c", "d")}, (), 64),
        ({2: FOUR}, (), 0),
        ({0: (), 1: FOUR}, (), 0),
    ],
)
def test_rows_are_announced_unless_they_are_surely_counted(
    place, table, save, counted, entrants, announced: int
) -> None:
    for step, banks in counted.items():
        save(step, counted=banks)
    number = 1
    if entrants:
        # It was dropped from the one before, and asked to rejoin.
        place.agreements("a").ask(1)
        number = 2
    told = generation(number, entrants=entrants)
    gathering = place.status(told, state=RunState.GATHERING)
    script = Script(gathering)
    participation = place.bank(script, table, timeout_seconds=0.0)
    if not entrants:
        assert entry_of(participation).at.catches_up
        script.statuses.append(gathering)
    script.statuses += [gathering] * 5
    with pytest.raises(CohortError):
        participation.next_entry()
    (call,) = [call for call in script.calls if call[0] == "ready"]
    assert call == ("ready", number, max(counted), announced)


# Coming back


def test_a_bank_that_is_not_in_asks_once_and_waits(place, table, save) -> None:
    save(1)
    without = generation(1, ("b", "c", "d"), first_step=1, first_round=4)
    out = place.status(without)
    waiting = place.status(without, waiting=("a",))
    back = generation(2, entrants=("a",))
    gathering = place.status(back, state=RunState.GATHERING)
    script = Script(out, waiting, waiting, waiting, gathering, gathering, *[gathering] * 5)
    script.joined = waiting
    with pytest.raises(CohortError, match="did not agree to generation 2"):
        place.bank(script, table, timeout_seconds=0.0).next_entry()
    assert [call for call in script.calls if call[0] != "run"] == [("join",), ("ready", 2, 1, 64)]
    # While it waits it asks for what is new, and not again and again.
    assert script.calls[2] == ("run", RunState.TRAINING, 1)


def test_a_bank_that_is_let_in_at_once_waits_for_nothing(place, table, save) -> None:
    save(1)
    gathering = place.status(
        generation(2, entrants=("a",)), state=RunState.GATHERING, round_number=5
    )
    script = Script(place.status(generation(1, ("b", "c", "d"))), *[gathering] * 6)
    script.joined = gathering
    with pytest.raises(CohortError):
        place.bank(script, table, timeout_seconds=0.0).next_entry()
    assert script.calls[:4] == [
        *(("run", None, None), ("join",), ("run", None, None), ("ready", 2, 1, 64))
    ]


def test_a_bank_that_was_dropped_too_often_says_so(place, table) -> None:
    script = Script(place.status(generation(1, ("b", "c", "d"))))
    script.joined = ForbiddenError("a was dropped 3 times")
    with pytest.raises(ForbiddenError, match="dropped 3 times"):
        place.bank(script, table).next_entry()


def test_a_run_that_ends_without_this_bank_has_no_entry(place, table) -> None:
    without = generation(1, ("b", "c", "d"))
    out, waiting = place.status(without), place.status(without, waiting=("a",))
    done = place.status(without, state=RunState.FINISHED)
    script = Script(out, done, done)
    script.joined = waiting
    assert place.bank(script, table).next_entry() is None


# A set that the ledger does not allow


def revealed(place: Place, *banks: str, bank: str = "a", run_id: str = "r") -> None:
    """Note that a bank has revealed sums over its rows with some banks."""
    reveal = Reveal.of(run_id, 0, banks, place.key_epoch.roster)
    ledger_at(place.root / f"{bank}.ledger").note(ROW_KEYS, reveal, set_changes=0)


def test_a_set_that_is_not_paid_for_is_declined_and_another_one_waited_for(
    place, table, save, caplog
) -> None:
    save(1)
    revealed(place, *FOUR)
    without, whole = generation(1, ("a", "b", "c")), generation(2, entrants=("d",))
    gathering = [place.status(told, state=RunState.GATHERING) for told in (without, whole)]
    begun = place.status(whole.model_copy(update={"first_step": 1, "first_round": 9}))
    script = Script(
        # It reads what was closed, is not heard when it declines, and sees the next one.
        *(gathering[0], gathering[0], gathering[0], gathering[1]),
        *(gathering[1], gathering[1], begun, begun),
    )
    participation = place.bank(script, table)
    assert entry_of(participation).at.catches_up
    with caplog.at_level(logging.WARNING):
        entry = entry_of(participation)
    assert (entry.banks, entry.checkpoint.generation) == (FOUR, 2)
    calls = [call for call in script.calls if call[0] not in ("run", "put")]
    assert calls == [("decline", 1), ("ready", 2, 1, 0)]
    (warning,) = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert "without d compared" in warning
    assert "set_changes = 0" in warning
    assert ledger_at(place.root / "a.ledger").summary().sets == 1, "asking notes nothing"


def test_a_stranger_that_is_turned_away_costs_no_wait(place, table) -> None:
    revealed(place, "a", "b", "c")
    with_it = place.status(generation(1, entrants=("d",)), state=RunState.GATHERING)
    again = place.status(generation(2, ("a", "b", "c")), state=RunState.GATHERING)
    script = Script(with_it, again, again, *[again] * 5)
    with pytest.raises(CohortError, match="b, c did not agree to generation 2"):
        place.bank(script, table, timeout_seconds=0.0).next_entry()
    called = [call for call in script.calls if call[0] != "run"]
    assert called == [("decline", 1), ("ready", 2, 0, 64)]


@pytest.mark.parametrize("state", [RunState.TRAINING, RunState.GATHERING])
def test_a_bank_waits_for_another_set_no_longer_than_it_is_told(place, table, state) -> None:
    revealed(place, *FOUR)
    status = place.status(generation(1, ("a", "b", "c")), state=state)
    script = Script(*[status] * 9)
    with pytest.raises(CohortError, match="no other generation was formed within 0 s"):
        place.bank(script, table, timeout_seconds=0.0).next_entry()
    assert not [call for call in script.calls if call[0] in ("ready", "put")]
    assert place.of("a").latest() is None


def test_an_allowance_lets_the_others_continue(place, table) -> None:
    revealed(place, *FOUR)
    status = place.status(generation(1, ("a", "b", "c")))
    assert entry_of(place.bank(Script(status), table, set_changes=1)).banks == ("a", "b", "c")


def test_a_bank_does_not_come_in_where_it_could_not_sum(place, table, caplog) -> None:
    revealed(place, *FOUR)
    without = place.status(generation(1, ("b", "c")))
    finished = place.status(generation(1, ("b", "c")), state=RunState.FINISHED)
    script = Script(without, without, finished)
    assert place.bank(script, table).next_entry() is None
    assert [call[0] for call in script.calls] == ["run"] * 3
    assert "does not ask to rejoin" in caplog.text


def test_while_others_gather_a_bank_asks_whatever_is_still_missing(place, table) -> None:
    """The other one that is away may be waiting for this one."""
    revealed(place, *FOUR)
    without = place.status(generation(1, ("b", "c")), state=RunState.GATHERING)
    partly = place.status(generation(2, ("a", "b", "c"), entrants=("a",)), state=RunState.GATHERING)
    script = Script(without, partly, partly, *[partly] * 5)
    script.joined = partly
    with pytest.raises(CohortError, match="no other generation"):
        place.bank(script, table, timeout_seconds=0.0).next_entry()
    assert [call for call in script.calls if call[0] != "run"] == [("join",), ("decline", 2)]


def test_a_run_with_other_banks_on_the_same_rows_is_not_joined(place, table) -> None:
    revealed(place, "a", "b", "c", run_id="an earlier one")
    generations = place.bank(Script(), table)
    context, work = generations._context, generations._work
    opened = place.status(generation(), state=RunState.OPEN, members=())
    with pytest.raises(CohortError, match=r"with d besides .* was not joined"):
        check_joinable(context, work, opened)
    # With the same banks it is joined; and what was joined before is for its generations.
    same = place.status(generation(0, ("a", "b", "c")), state=RunState.OPEN, members=())
    check_joinable(context, work, same)
    check_joinable(context, work, opened.model_copy(update={"members": ("a",)}))


def test_what_can_be_changed_of_a_checkpoint_changes_what_is_agreed(place, table, save) -> None:
    """Another base under the same step is another context: no sum of the two ever opens."""
    told = generation(1, ("a", "b", "c"), first_step=1, first_round=7)
    digests = set()
    for bank, changes in (("a", {}), ("b", {"state": b"other"}), ("c", {"counted": ("a",)})):
        kept = save(1, bank=bank)
        place.of(bank).save(dataclasses.replace(kept, **changes))
        with_rows = told.model_copy(update={"ready": ready(("a", 1, 0), ("b", 1, 64), ("c", 1, 0))})
        participation = place.bank(Script(place.status(with_rows)), table, name=bank)
        if "state" in changes:
            with pytest.raises(FraudFedError):
                participation.next_entry()
        else:
            participation.next_entry()
        digests.add(place.of(bank).at(1).transcript)
    assert len(digests) == 3
