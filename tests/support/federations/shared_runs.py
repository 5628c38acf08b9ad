"""Three banks with a finished run that were never a process, and one that may adopt it.

Everything that a member keeps of a run is written here by the program's own means; the banks'
people have confirmed each other, so that nothing is trusted on first use.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
from examples import statistics as world

from bank_node.adoption import sharing
from bank_node.adoption.content import SealedShare
from bank_node.adoption.setting_up import OwnPayments
from bank_node.config import BankConfig, CohortRules
from bank_node.data.contract import load_training_rows
from bank_node.state.directory import MODEL_FILE, STATISTICS_FILE, TABLES_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.risk_file import RiskFile
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.documents import model_bytes
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.features import contract_features
from fraudfed.features.shared_risk import RiskTables, SharedRisk, risk_entries, sum_tables
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import (
    DataContract,
    ModelSignature,
    ModelSignatures,
    ModelVisibility,
    PublicKeyMessage,
    RiskSpec,
    RunKind,
    RunSpec,
)

MEMBERS = ("bank-a", "bank-b", "bank-c")
NEWCOMER = "bank-d"
MODEL_RUN, TABLES_RUN, STATISTICS_RUN = "run-model", "run-tables", "run-statistics"
PARAMETERS = {"num_boost_round": 2, "max_depth": 2, "max_bin": 8}
DAY = 86_400
_KEY = PublicKeyMessage(n="f", fingerprint="0" * 64)
_FEATURES = ("amount", "hour_of_day", "shared_merchant_count_7d")


def hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def run_of(run_id: str, **settings: Any) -> PinnedRun:
    """Return the description of a run of the three members."""
    spec = RunSpec(name=run_id, key_epoch=1, **settings)
    return PinnedRun(run_id=run_id, spec=spec, cohort=MEMBERS, public_key=_KEY)


def signatures_of(
    run_id: str, content: bytes, identities: dict[str, Identity], *, sha256: str | None = None
) -> ModelSignatures:
    """Return the signatures of some banks over a result."""
    plain = hashed(content)
    data = model_bytes(run_id=run_id, plain_sha256=plain)
    return ModelSignatures(
        run_id=run_id,
        sha256=plain if sha256 is None else sha256,
        plain_sha256=plain,
        signatures=tuple(
            ModelSignature(bank=name, signature=identity.sign(data).hex())
            for name, identity in sorted(identities.items())
        ),
    )


@dataclass(frozen=True)
class SharedRuns:
    """The banks, and what they hold."""

    root: Path
    identities: dict[str, Identity]
    runs: dict[str, PinnedRun]
    results: dict[str, bytes]

    def state(self, name: str) -> StateDirectory:
        return StateDirectory(self.root / name)

    @property
    def newcomer(self) -> StateDirectory:
        return self.state(NEWCOMER)

    @property
    def own(self) -> OwnPayments:
        return OwnPayments(self.root / "own.parquet", None, 3.0)

    def share(self, name: str, run_id: str = MODEL_RUN, newcomer: str = NEWCOMER) -> SealedShare:
        with as_in_the_epoch():
            return sharing.share_run(
                self.state(name),
                self.identities[name],
                run_id,
                newcomer,
                statistics_run=STATISTICS_RUN,
            )

    def shares(self) -> list[SealedShare]:
        return [self.share(name) for name in MEMBERS]

    def write(
        self, name: str, run: PinnedRun, content: bytes, files: dict[str, bytes], **record: Any
    ) -> None:
        """Have a member keep a result."""
        state = self.state(name)
        members = {each: self.identities[each] for each in MEMBERS}
        state.pin_run(run)
        facts = {
            "model_sha256": hashed(content),
            "registry_sha256": hashed(content),
            "members": list(MEMBERS),
        }
        signatures = signatures_of(run.run_id, content, members)
        state.save_result(run.run_id, files, signatures, {**facts, **record})


@contextmanager
def as_in_the_epoch() -> Iterator[None]:
    """Stand in for the key package of the epoch, which takes seconds to make."""
    with (
        mock.patch.object(StateDirectory, "key_package", return_value=None),
        mock.patch.object(sharing, "derive_risk_key", return_value=world.KEY),
    ):
        yield


def tables_of(rows: list[pd.DataFrame]) -> tuple[RiskSpec, RiskTables]:
    """Return the tables of all days, of what banks enter."""
    first = world.START // DAY
    spec = RiskSpec(
        first_day=first,
        last_day=first + world.DAYS,
        delay_days=0,
        depth=2,
        transaction_width=64,
        fraud_width=16,
        min_customers=1,
    )
    entered = risk_entries(pd.concat(rows, ignore_index=True), spec, hash_key=world.KEY)
    begin = RiskTables(spec, hash_key_id(world.KEY))
    return spec, sum_tables(entered, SoloCommunicator(), start=begin)


def make_shared_runs(root: Path, *, train_on: Callable[..., Any] = train) -> SharedRuns:
    """Make the banks and their finished runs."""
    rows = [world.payments(bank, n_rows=600) for bank in range(3)]
    world.payments(3, n_rows=500).to_parquet(root / "own.parquet")
    identities = {name: Identity.generate() for name in (*MEMBERS, NEWCOMER)}
    everybody = [identity.member(name) for name, identity in sorted(identities.items())]
    for name, identity in identities.items():
        config = BankConfig(
            name=name,
            aggregator="http://localhost:1",
            registered=True,
            signing_key=identity.public.signing_key,
            agreement_key=identity.public.agreement_key,
            rules=CohortRules(),
        )
        state = StateDirectory.create(root / name, config, identity)
        pins = PinnedRoster.of(identity.member(name), now=1).pin(everybody, now=1)
        state.save_pinned_roster(pins.confirm(everybody))

    spec, tables = tables_of(rows)
    of_tables = tables.to_bytes()
    contract = DataContract(
        kind="transactions",
        recipe="fraudfed-card-2",
        features=tuple(each for each in contract_features(shared=True) if each.name in _FEATURES),
        shared_risk=(hashed(of_tables),),
        risk_delay_days=0,
    )
    data = root / "rows.parquet"
    pd.concat(rows, ignore_index=True).to_parquet(data)
    keyed = KeyedTables(tables, world.KEY)
    table = load_training_rows(data, contract, shared=SharedRisk([keyed])).windows.train
    model = train_on(BoosterParams.parse(PARAMETERS), table, SoloCommunicator()).model.to_json()
    at = world.layout(3)
    pooled = world.pooled([world.counted(each, at) for each in rows], at)
    visibility = ModelVisibility.MEMBERS
    runs = {
        MODEL_RUN: run_of(MODEL_RUN, parameters=PARAMETERS, contract=contract, min_cohort=2),
        TABLES_RUN: run_of(TABLES_RUN, kind=RunKind.RISK, risk=spec, model_visibility=visibility),
        STATISTICS_RUN: run_of(
            STATISTICS_RUN,
            kind=RunKind.STATISTICS,
            contract=world.contract(),
            statistics=world.SPEC,
            model_visibility=visibility,
        ),
    }
    results = {
        MODEL_RUN: model,
        TABLES_RUN: of_tables,
        STATISTICS_RUN: pooled[0].pooled.to_bytes(),
    }
    made = SharedRuns(root, identities, runs, results)
    file = RiskFile(TABLES_RUN, hashed(of_tables), keyed).to_bytes()
    for name in MEMBERS:
        made.write(name, runs[MODEL_RUN], model, {MODEL_FILE: model})
        made.write(name, runs[TABLES_RUN], of_tables, {TABLES_FILE: file})
        statistics = results[STATISTICS_RUN]
        made.write(name, runs[STATISTICS_RUN], statistics, {STATISTICS_FILE: statistics})
    return made
