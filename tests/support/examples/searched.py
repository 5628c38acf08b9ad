"""Small searches on one machine, with candidates of every kind."""

from dataclasses import replace
from typing import Any

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import Communicator, SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.search.result import SearchResult
from fraudfed.search.search import search
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec

COMMON: dict[str, Any] = {"eta": 0.3, "max_delta_step": 1, "subsample": 0.8, "max_bin": 12}
CANDIDATES = (
    SearchCandidate(name="light", parameters={"max_depth": 3}, min_child_share=0.0),
    SearchCandidate(name="deep", parameters={"max_depth": 4, "subsample": 1}, min_child_share=0.0),
    SearchCandidate(name="heavy", parameters={"colsample_bytree": 0.5}, min_child_share=0.1),
    SearchCandidate(name="stock", parameters={"max_bin": 20, "scale_pos_weight": 3}),
    SearchCandidate(name="from-half", parameters={"base_score": 0.5, "learning_rate": 0.1}),
)
SPEC = SearchSpec(
    candidates=CANDIDATES,
    rungs=tuple(SearchRung(trees=t, alive=n) for t, n in ((2, 5), (4, 3), (7, 1))),
    patience=None,
)


def rows(n_rows: int = 500, seed: int = 3, *, weighted: bool = False) -> TrainingTable:
    rng = np.random.default_rng(seed)
    table = synthetic_table(n_rows, 5, rng, missing=0.1, categorical=1, prevalence=0.2)
    if not weighted:
        return table
    weights = rng.uniform(0.1, 2.0, n_rows).astype(np.float32)
    return replace(table, weights=weights, max_weight=2.0)


def part_of(table: TrainingTable, chosen: Int64Array) -> TrainingTable:
    return replace(
        table,
        features=table.features[chosen],
        labels=table.labels[chosen],
        weights=None if table.weights is None else table.weights[chosen],
    )


def judged(table: TrainingTable) -> JudgedRows:
    labels = table.labels.copy()
    labels[::17] = np.nan  # Censored: blocked, and nobody reported it.
    outcomes = Outcomes(labels=labels, is_blocked=np.isnan(labels))
    return JudgedRows(table.schema, table.features, outcomes)


TABLE = rows()
SELECT = judged(rows(seed=4))


def alone(
    spec: SearchSpec = SPEC,
    *,
    table: TrainingTable = TABLE,
    communicator: Communicator | None = None,
    **options: Any,
) -> SearchResult:
    """Search on one machine."""
    one = SoloCommunicator() if communicator is None else communicator
    return search(spec, COMMON, table, SELECT, one, threads=1, **options)


def only(candidate: SearchCandidate) -> SearchSpec:
    """Let one candidate win, as it has no rival that is not itself."""
    # No feature here has as many categories, so it grows the same trees.
    parameters = {**candidate.parameters, "max_cat_threshold": 63}
    twin = candidate.model_copy(update={"name": "twin", "parameters": parameters})
    rungs = (SearchRung(trees=4, alive=2), SearchRung(trees=5, alive=1))
    return SearchSpec(candidates=(candidate, twin), rungs=rungs)
