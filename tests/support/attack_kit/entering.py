"""Four banks behind a server that says to each what it likes: one of them comes in late.

Each takes part by ``Generations``, told what the server wants it to believe.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from examples.ledgers import ledger_at
from examples.run_contexts import make_context
from federations.agreements import AgreeingBanks
from federations.scripted import Script, signed_by

from attack_kit.sums import AttackedSums, Outcome, make_parts
from bank_node.config import CohortRules
from bank_node.jobs.training import TrainingWork
from bank_node.run.generations import Entry, Generations
from bank_node.state.checkpoints import Checkpoint, Checkpoints
from bank_node.state.outbox import Outbox
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.round_log import RoundLog
from bank_node.vault.vault import PlainVault
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import (
    SumError,
)
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    Generation,
    KeyEpoch,
    PublicKeyMessage,
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

MEMBERS = AgreeingBanks(NAMES, "r1")
RULES = CohortRules(tolerated_colluders=1)

#: Behind step 2 bank-3 comes in; it was never counted.
TOLD = MEMBERS.all_ready(
    Generation(number=1, banks=NAMES, entrants=(ENTRANT,), first_step=2, first_round=9),
    more_rows={ENTRANT: 8},
)
#: What the others began with.
FIRST = MEMBERS.all_ready(Generation(number=0, banks=NAMES[:3]))
#: What an entrant is handed: signatures by name, and the sealed bytes.
Handed = tuple[dict[str, str], bytes]


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
            roster=MEMBERS.roster,
            public_key=public_key,
            sealed=tuple(SealedKey(name=name, box="AAAA") for name in NAMES),
            signature="0" * 128,
        )
        spec = RunSpec(name="a run", key_epoch=1, parameters=PARAMETERS, contract=CONTRACT)
        self.run = PinnedRun(run_id="r1", spec=spec, cohort=NAMES, public_key=public_key)
        self.signatures: dict[str, str] = {}
        for name in NAMES[:3]:
            for step in (1, 2):
                self.checkpoints(name).save(self.behind(name, step))
            self.agree(name, FIRST)
            keys = tuple((one.bank, one.key) for one in FIRST.ready)
            MEMBERS.agreements(root, name).begin(keys)

    def agree(self, name: str, told: Generation) -> None:
        """Let a bank have agreed to a generation, as it will be told by an honest server."""
        agreements = MEMBERS.agreements(self.root, name)
        MEMBERS.agree(agreements, told, name, data_sha256=DATA, rules=RULES)

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
            state=self.states[step].to_bytes(),
        )

    def status(self, told: Generation, state: RunState = RunState.TRAINING) -> RunStatus:
        return RunStatus(
            run_id="r1",
            spec=self.run.spec,
            state=state,
            cohort=NAMES,
            public_key=self.run.public_key,
            members=NAMES,
            generation=told,
            round_number=told.first_round,
            ciphertexts=0,
            bytes_received=0,
            created_at=0,
        )

    def bank(self, name: str, script: Script) -> Generations:
        """Start a bank with a server."""
        script.bank = name
        context = make_context(
            name,
            script,
            run=self.run,
            key_epoch=self.key_epoch,
            package=self.package,
            cohort_timeout_seconds=0.0,
            progress=SimpleNamespace(banks=lambda names, total: None),
            identity=MEMBERS.identities[name],
            agreements=MEMBERS.agreements(self.root, name),
            outbox=Outbox(self.root / f"{name}.sealed"),
            checkpoints=self.checkpoints(name),
            log=RoundLog(self.root / f"{name}.rounds"),
            ledger=ledger_at(self.root / f"{name}.ledger"),
        )
        work = TrainingWork(
            params=BoosterParams.parse(PARAMETERS),
            table=self.table,
            validation=None,
            rows_read=self.table.n_rows,
            data_sha256=DATA,
            row_keys=("0" * 32,),
            progress=context.progress,
            threads=1,
        )
        return Generations(context, work)

    def enter(
        self, name: str, told: Generation, *, gives: Handed | None = None, agrees: bool = True
    ) -> Entry:
        """Have a bank take part in what it is told; keeps what it hands over in ``handed``."""
        if agrees:
            self.agree(name, TOLD)
        script = Script(self.status(told))
        if gives is not None:
            signatures, sealed = gives
            script.gives = [(signed_by(signatures), sealed)]
        entry = self.bank(name, script).next_entry()
        assert entry is not None
        if script.handed:
            self.handed = script.handed[-1]
            self.signatures[name] = script.signatures[-1]
        return entry

    def honestly_handed(self) -> Handed:
        """Return what all that stay hand over."""
        for name in NAMES[:3]:
            self.enter(name, TOLD)
        return self.signatures, self.handed

    def sum(
        self, lie: Lie = lambda _, told: told, *, handover: Handed | None = None
    ) -> dict[str, Outcome]:
        """Have all banks enter and do one round; return what each ends it with."""
        sums = AttackedSums(self.package, NAMES)
        for bank, name in enumerate(NAMES):
            given = (handover or (self.signatures, self.handed)) if name == ENTRANT else None
            entry = self.enter(name, lie(name, TOLD), gives=given)
            sums.transcripts[bank] = entry.at.transcript
        return sums.sum(make_parts(len(NAMES)))


def assert_sum(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome, np.sum(make_parts(len(NAMES)), axis=0))


def assert_no_number(outcomes: dict[str, Outcome]) -> None:
    assert all(isinstance(outcome, SumError) for outcome in outcomes.values()), outcomes
