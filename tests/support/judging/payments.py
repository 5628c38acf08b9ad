"""Payments of a bank with three windows, and a run that judges by the last of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bank_node.config import BankConfig
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.consortium.identity import Identity
from fraudfed.wire.messages import (
    DataContract,
    LabelHorizon,
    PublicKeyMessage,
    RunKind,
    RunSpec,
    SearchCandidate,
    SearchRung,
    SearchSpec,
)

DAY = 86_400
START = 20_000 * DAY
CONTRACT = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=tuple(
        spec
        for spec in contract_features()
        # Few, so that tests are quick.
        if "amount" in spec.name or spec.name in ("channel", "merchant_fraud_count_30d")
    ),
    label_horizon_days=LabelHorizon(days=5),
    train_until=START + 60 * DAY,
    select_until=START + 90 * DAY,
    judge_until=START + 130 * DAY,
)
SPEC = SearchSpec(
    candidates=(
        SearchCandidate(name="shallow", parameters={"max_depth": 2}),
        SearchCandidate(name="deep", parameters={"max_depth": 4}),
    ),
    rungs=(SearchRung(trees=3, alive=2), SearchRung(trees=6, alive=1)),
)
COMMON: dict[str, Any] = {"eta": 0.3, "max_bin": 16, "min_child_weight": 1}


def payments(bank: int, n_rows: int = 3000, *, blocked: bool = True) -> pd.DataFrame:
    """Return payments of 130 days; large ones over the internet are fraud more often."""
    rng = np.random.default_rng([23, bank])
    time = START + np.sort(rng.integers(0, 130 * DAY, n_rows))
    channel = rng.choice(["pos", "ecommerce", "transfer"], n_rows)
    amount = rng.lognormal(8, 1, n_rows).astype(np.int64) + 1
    odds = 1.5 * (np.log(amount) - 9.5) + 2.0 * (channel == "ecommerce") - 2.0
    fraud = rng.random(n_rows) < 1 / (1 + np.exp(-odds))
    stopped = (rng.random(n_rows) < 0.02) & (amount > 8000) & blocked
    return pd.DataFrame(
        {
            "transaction_id": [f"b{bank}t{row}" for row in range(n_rows)],
            "event_time": time,
            "label_time": time + np.where(fraud, rng.integers(1, 4, n_rows), 30) * DAY,
            "customer_id": [f"c{number}" for number in rng.integers(0, n_rows // 2, n_rows)],
            "merchant_id": [f"m{number}" for number in rng.integers(0, 40, n_rows)],
            "channel": channel,
            "merchant_category": rng.choice(["grocery", "fuel"], n_rows),
            "amount_minor": amount,
            "is_blocked": stopped.astype(int),
            "is_fraud": (fraud & ~stopped).astype(int),
        }
    )


def run_spec(**changes: Any) -> RunSpec:
    """Describe a search over the payments."""
    settings: dict[str, Any] = {
        "name": "judged",
        "key_epoch": 1,
        "kind": RunKind.SEARCH,
        "contract": CONTRACT,
        "parameters": COMMON,
        "search": SPEC,
        **changes,
    }
    return RunSpec(**settings)


def bank_that_knows(
    path: Path, spec: RunSpec, *, run_id: str = "r1", model: bytes | None = None
) -> StateDirectory:
    """Make the state directory of a bank with a finished run; without a model an unfinished one."""
    identity = Identity.generate()
    config = BankConfig(
        name="bank-a",
        aggregator="https://a.example",
        last_runs={spec.kind: run_id},
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )
    state = StateDirectory.create(path, config, identity)
    key = PublicKeyMessage(n="ff", fingerprint="1" * 64)
    state.pin_run(PinnedRun(run_id=run_id, spec=spec, cohort=("bank-a",), public_key=key))
    if model is not None:
        state.model_path(run_id).write_bytes(model)
    return state
