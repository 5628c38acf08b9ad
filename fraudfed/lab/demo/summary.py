"""What a demo run did and what it cost, from the records that the bank nodes keep."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

import fraudfed
from fraudfed.lab.demo.data import DemoData
from fraudfed.lab.local_federation.run import RunOutcome
from fraudfed.lab.oracle.verification import Verification
from fraudfed.lab.report.compare import BankResult, DemoSummary, ModelScores, RiskFacts
from fraudfed.lab.report.mules import MuleFacts

#: Features listed in the report.
_TOP_FEATURES = 12


@dataclass(frozen=True, eq=False)
class Runs:
    """What the federation ran.

    Attributes
    ----------
    models : mapping of str to RunOutcome
        The trainings, by names of ``MODELS``.
    risk : RunOutcome or None
        The sums of shared risk, if risk is shared.
    """

    models: Mapping[str, RunOutcome]
    risk: RunOutcome | None

    @property
    def best(self) -> str:
        """Name of the model with all that is shared."""
        return "federated" if self.risk is None else "federated_shared"

    @property
    def outcome(self) -> RunOutcome:
        """The training of that model."""
        return self.models[self.best]


def summarise(
    data: DemoData,
    runs: Runs,
    banks: tuple[BankResult, ...],
    parameters: Mapping[str, Any],
    *,
    verification: Verification,
    all_rows: Mapping[str, ModelScores],
    stage_seconds: Mapping[str, float],
    total_seconds: float,
    mules: MuleFacts | None = None,
) -> DemoSummary:
    """Return the summary of a demo: its costs are those of the model with all that is shared."""
    run = runs.outcome
    records = [bank.record for bank in run.banks]
    phases = sorted({name for record in records for name in record["last_process"]["wall_seconds"]})
    booster = xgboost.Booster(model_file=bytearray(run.result))
    scores = booster.get_score(importance_type="total_gain")
    gains = [(str(name), float(np.sum(gain))) for name, gain in scores.items()]
    top = sorted(gains, key=lambda item: (-item[1], item[0]))[:_TOP_FEATURES]
    return DemoSummary(
        banks=banks,
        key_bits=records[0]["key_bits"],
        key_fingerprint=records[0]["key_fingerprint"],
        kernel=records[0]["kernel"],
        rounds=run.status.round_number,
        rounds_verified=min(
            record["whole_run"]["protection"]["rounds_verified"] for record in records
        ),
        ciphertexts=run.status.ciphertexts,
        bytes_sent=sum(record["whole_run"]["bytes_sent"] for record in records),
        wall_seconds={
            name: float(
                np.mean(
                    [record["last_process"]["wall_seconds"].get(name, 0.0) for record in records]
                )
            )
            for name in phases
        },
        total_seconds=total_seconds,
        model_sha256=hashlib.sha256(run.result).hexdigest(),
        trees=booster.num_boosted_rounds(),
        parameters=parameters,
        transactions=data.rows,
        features=booster.num_features(),
        versions={
            "fraudfed": fraudfed.__version__,
            "python": platform.python_version(),
            "xgboost": xgboost.__version__,
            "numpy": np.__version__,
        },
        identical_trees_on_same_bins=verification.identical,
        verification=verification.sentence,
        top_features=tuple(top),
        stage_seconds=dict(stage_seconds),
        data=data.data,
        split=data.split,
        all_rows=all_rows,
        shared_risk=None if runs.risk is None else _risk_facts(data, runs.risk),
        mules=mules,
    )


def _risk_facts(data: DemoData, run: RunOutcome) -> RiskFacts:
    if data.risk is None:
        raise ValueError("a run of shared risk without a plan for it")
    spec = data.risk.spec
    return RiskFacts(
        days=spec.last_day - spec.first_day + 1,
        ciphertexts=run.status.ciphertexts,
        bytes_sent=sum(bank.record["whole_run"]["bytes_sent"] for bank in run.banks),
        rounds=run.status.round_number,
        seconds=run.seconds,
        sha256=run.banks[0].record["model_sha256"],
        min_customers=spec.min_customers,
    )
