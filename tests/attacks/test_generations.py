"""A server that lies about who takes part, from where on, and about what was trained so far.

Each bank takes part by ``Generations``, told what the server wants it to believe, and then sums
with the others through a server that leaves out every check of its own.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attack_kit.sums import AttackedSums, Outcome, make_parts
from examples.run_contexts import make_context
from federations.scripted import Script

from bank_node.data.contract import load_training_rows
from bank_node.jobs.training import TrainingWork
from bank_node.run import generations as participation
from bank_node.run.generations import Entry, Generations
from bank_node.state.checkpoints import Checkpoint, Checkpoints
from bank_node.state.directory import PinnedRun
from bank_node.state.round_log import RoundLog
from bank_node.vault.vault import PlainVault
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium import model_seal
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import FraudFedError, KeyMaterialError, SumError
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    Generation,
    KeyEpoch,
    MemberKeys,
    PublicKeyMessage,
    ReadyBank,
    RunSpec,
    RunState,
    RunStatus,
    SealedKey,
)

NAMES = ("bank-0", "bank-1", "bank-2", "bank-3")
ENTRANT = "bank-3"
DATA = "1" * 64
CONTRACT = DataContract(kind="table", features=(FeatureSpec(name="amount"),))
PARAMETERS = {"num_boost_round": 3, "max_depth": 2, "max_bin": 8}
Patch = pytest.MonkeyPatch
Lie = Callable[[str, Generation], Generation]

#: Behind step 2 bank-3 comes in; it was never counted.
TOLD = Generation(
    number=1,
    banks=NAMES,
    entrants=(ENTRANT,),
    ready=tuple(
        ReadyBank(bank=name, step=2 * (name != ENTRANT), more_rows=8 * (name == ENTRANT))
        for name in NAMES
    ),
    first_step=2,
    first_round=9,
)


class Banks:
    """Four banks, of which one comes in, behind a server that says what it likes to each."""

    def __init__(self, root: Path, package: KeyPackage, table: TrainingTable) -> None:
        self.root, self.package, self.table = root, package, table
        self.states: dict[int, TrainingState] = {}
        train(
            BoosterParams.parse(PARAMETERS),
            table,
            SoloCommunicator(),
            on_step=lambda state: self.states.update({state.n_steps: state}),
        )
        public_key = PublicKeyMessage.model_validate(package.public_key.to_hex())
        self.key_epoch = KeyEpoch(
            epoch=1,
            steward="bank-0",
            roster=tuple(
                MemberKeys(name=name, signing_key=f"{i:064x}", agreement_key=f"{i + 9:064x}")
                for i, name in enumerate(NAMES)
            ),
            public_key=public_key,
            sealed=tuple(SealedKey(name=name, box="AAAA") for name in NAMES),
            signature="0" * 128,
        )
        spec = RunSpec(name="a run", key_epoch=1, parameters=PARAMETERS, contract=CONTRACT)
        self.run = PinnedRun(run_id="r1", spec=spec, cohort=NAMES, public_key=public_key)
        for name in NAMES[:3]:
            for step in (1, 2):
                self.checkpoints(name).save(self.behind(name, step))

    def checkpoints(self, name: str) -> Checkpoints:
        return Checkpoints(self.root / name, run_id="r1", bank=name, vault=PlainVault())

    def behind(self, name: str, step: int) -> Checkpoint:
        """Return a checkpoint of the generation that the others began with."""
        return Checkpoint(
            run_id="r1",
            bank=name,
            step=step,
            generation=0,
            cohort=NAMES[:3],
            first_step=0,
            first_round=0,
            round_number=4 * step,
            transcript="2" * 64,
            facts_sha256="3" * 64,
            data_sha256=DATA,
            counted=NAMES[:3],
            more_rows=0,
            exposed=(),
            state=self.states[step].to_bytes(),
        )

    def enter(self, name: str, told: Generation, *, gives: bytes | None = None) -> Entry:
        """Have a bank take part in what it is told; keeps what it hands over in ``handed``."""
        status = RunStatus(
            run_id="r1",
            spec=self.run.spec,
            state=RunState.TRAINING,
            cohort=NAMES,
            public_key=self.run.public_key,
            members=NAMES,
            generation=told,
            round_number=told.first_round,
            ciphertexts=0,
            bytes_received=0,
            created_at=0,
        )
        script = Script(status)
        script.gives = [gives]
        context = make_context(
            name,
            script,
            run=self.run,
            key_epoch=self.key_epoch,
            package=self.package,
            cohort_timeout_seconds=1.0,
            checkpoints=self.checkpoints(name),
            log=RoundLog(self.root / f"{name}.rounds"),
        )
        work = TrainingWork(
            params=BoosterParams.parse(PARAMETERS),
            table=self.table,
            validation=None,
            rows_read=self.table.n_rows,
            data_sha256=DATA,
            progress=context.progress,
            threads=1,
        )
        entry = Generations(context, work).next_entry()
        assert entry is not None
        self.handed = script.handed[-1] if script.handed else b""
        return entry

    def sum(
        self, lie: Lie = lambda _, told: told, *, handover: bytes | None = None
    ) -> dict[str, Outcome]:
        """Have all banks enter and do one round; return what each ends it with."""
        sums = AttackedSums(self.package, NAMES)
        for bank, name in enumerate(NAMES):
            given = (handover or self.handed) if name == ENTRANT else None
            entry = self.enter(name, lie(name, TOLD), gives=given)
            sums.transcripts[bank] = entry.at.transcript
        return sums.sum(make_parts(len(NAMES)))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TrainingTable:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    amounts = np.arange(1.0, 9.0)
    pd.DataFrame({"amount": amounts, "is_fraud": (amounts > 4).astype(int)}).to_csv(
        path, index=False
    )
    return load_training_rows(path, CONTRACT).table


@pytest.fixture
def banks(tmp_path: Path, package: KeyPackage, table: TrainingTable) -> Banks:
    return Banks(tmp_path, package, table)


def assert_sum(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome, np.sum(make_parts(len(NAMES)), axis=0))


def assert_no_number(outcomes: dict[str, Outcome]) -> None:
    assert all(isinstance(outcome, SumError) for outcome in outcomes.values()), outcomes


def told_only(victim: str, **changes: Any) -> Lie:
    """Tell one bank something else than the others."""

    def lie(name: str, told: Generation) -> Generation:
        return told.model_copy(update=changes) if name == victim else told

    return lie


def test_banks_that_are_told_the_same_sum(banks: Banks) -> None:
    assert_sum(banks.sum())


LIES = [
    {"number": 2},
    {"banks": ("bank-0", "bank-1", "bank-3")},
    {"first_step": 1},
    {"first_round": 10},
    {"ready": TOLD.ready[:3]},
    {"ready": (*TOLD.ready[:3], TOLD.ready[3].model_copy(update={"more_rows": 1}))},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: next(iter(lie)))
def test_banks_that_are_told_different_generations_get_no_number(
    banks: Banks, lie: dict[str, Any]
) -> None:
    assert_no_number(banks.sum(told_only("bank-1", **lie)))


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: next(iter(lie)))
def test_control_without_the_generation_in_the_facts_they_sum(
    banks: Banks, monkeypatch: Patch, lie: dict[str, Any]
) -> None:
    monkeypatch.setattr(participation, "run_facts", lambda *_, **__: b"the run")
    assert_sum(banks.sum(told_only("bank-1", **lie)))


def forged(banks: Banks) -> bytes:
    """Return what a member that colludes hands over: well-formed, sealed, and another training."""
    banks.enter("bank-0", TOLD)
    data = model_seal.open_handover(
        banks.handed, holder=banks.package, run_id="r1", generation=TOLD.number
    )
    whole = banks.states[2].to_bytes()
    assert data.endswith(whole)
    other = dataclasses.replace(banks.states[2], base_score=0.875).to_bytes()
    return model_seal.seal_handover(
        data[: -len(whole)] + other, holder=banks.package, run_id="r1", generation=TOLD.number
    )


def test_an_entrant_that_is_handed_a_forged_training_gets_no_number(banks: Banks) -> None:
    """Nor does anybody else: no sum is ever made of parts for different trees."""
    assert_no_number(banks.sum(handover=forged(banks)))


def test_control_without_the_base_in_the_facts_a_forged_training_passes(
    banks: Banks, monkeypatch: Patch
) -> None:
    original = participation.run_facts
    monkeypatch.setattr(
        participation,
        "run_facts",
        lambda *told, base, more_rows: original(*told, base=b"", more_rows=more_rows),
    )
    assert_sum(banks.sum(handover=forged(banks)))


def replayed(banks: Banks, *, run_id: str, generation: int) -> bytes:
    """Return what honest banks have handed over at another time, or in another run."""
    banks.enter("bank-0", TOLD)
    data = model_seal.open_handover(
        banks.handed, holder=banks.package, run_id="r1", generation=TOLD.number
    )
    return model_seal.seal_handover(
        data, holder=banks.package, run_id=run_id, generation=generation
    )


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
