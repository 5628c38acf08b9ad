"""A search over a small table: its run, rows of banks, and what one machine makes of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    FeatureType,
    RunKind,
    RunSpec,
    SearchCandidate,
    SearchRung,
    SearchSpec,
)

COMMON: dict[str, Any] = {"eta": 0.3, "max_bin": 8, "subsample": 0.8, "min_child_weight": 0.5}
SPEC = SearchSpec(
    candidates=(
        SearchCandidate(name="shallow", parameters={"max_depth": 1}),
        SearchCandidate(name="deep", parameters={"max_depth": 3, "lambda": 10}),
        SearchCandidate(name="careful", parameters={"max_depth": 3}, min_child_share=0.1),
    ),
    rungs=(
        SearchRung(trees=2, alive=3),
        SearchRung(trees=3, alive=2),
        SearchRung(trees=4, alive=1),
    ),
    patience=None,
    keep_each_share=False,
)
CHANNELS = ("pos", "web", "atm")
CONTRACT = DataContract(
    kind="table",
    features=(
        FeatureSpec(name="amount"),
        FeatureSpec(name="age"),
        FeatureSpec(name="channel", type=FeatureType.CATEGORICAL, categories=CHANNELS),
    ),
)


def rows_of(bank: int, n_rows: int = 300) -> pd.DataFrame:
    """Return one bank's rows: fraud is rare, and follows from two columns and chance."""
    rng = np.random.default_rng([17, bank])
    amount, age = rng.lognormal(3, 1, n_rows), rng.integers(0, 100, n_rows)
    channel = rng.choice(CHANNELS, n_rows)
    score = np.log(amount) - 0.03 * age + (channel == "web") + rng.normal(0, 0.7, n_rows)
    return pd.DataFrame(
        {
            "amount": amount.round(2),
            "age": age,
            "channel": channel,
            "is_fraud": (score > 3.2).astype(int),
        }
    )


def search_run(key_epoch: int, **changes: Any) -> RunSpec:
    """Describe a search."""
    settings: dict[str, Any] = {
        "name": "search",
        "key_epoch": key_epoch,
        "kind": RunKind.SEARCH,
        "contract": CONTRACT,
        "parameters": COMMON,
        "search": SPEC,
        **changes,
    }
    return RunSpec(**settings)


def with_candidates(*candidates: dict[str, Any], trees: Sequence[int] = (2,)) -> SearchSpec:
    """Return a search of other candidates, all alive in the first rung."""
    alive = [len(candidates), *range(len(trees) - 1, 0, -1)]
    return SearchSpec(
        candidates=tuple(SearchCandidate(**each) for each in candidates),
        rungs=tuple(
            SearchRung(trees=tree, alive=count) for tree, count in zip(trees, alive, strict=True)
        ),
    )
