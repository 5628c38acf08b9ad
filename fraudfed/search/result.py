"""What a search has found, and the canonical bytes of it: ``search.json``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fraudfed.boosting.model import Model
from fraudfed.parameters import BoosterParams
from fraudfed.search.halving import Point, measured_best
from fraudfed.wire.messages.kinds.search import SearchSpec, SelectBy

#: What candidates are compared by.
METRIC = "aucpr"


@dataclass(frozen=True)
class CandidateResult:
    """What became of one candidate.

    Attributes
    ----------
    name : str
    min_child_share : float or None
    params : BoosterParams
        ``num_boost_round`` is that of the last rung.
    curve : tuple of Point
    trees : int
        Grown.
    values : int
        Summed for this candidate alone.
    is_alive : bool
        Whether it was in the last rung.
    """

    name: str
    min_child_share: float | None
    params: BoosterParams
    curve: tuple[Point, ...]
    trees: int
    values: int
    is_alive: bool

    def document(self) -> dict[str, Any]:
        """Return its part of ``search.json``."""
        parameters = self.params.to_mapping()
        for name in ("num_boost_round", "eval_metric", "early_stopping_rounds"):
            del parameters[name]
        return {
            "name": self.name,
            "min_child_share": self.min_child_share,
            "parameters": parameters,
            "trees": self.trees,
            "in_last_rung": self.is_alive,
            "values_summed": self.values,
            "curve": [
                {
                    "trees": point.trees,
                    SelectBy.MEAN_OF_BANKS.value: point.mean_of_banks,
                    SelectBy.POOLED.value: point.pooled,
                }
                for point in self.curve
            ],
        }


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The choice, and how it came about; the same at every bank.

    Attributes
    ----------
    spec : SearchSpec
    winner : str
        Name of the candidate that was chosen.
    params : BoosterParams
        The winner's; ``num_boost_round`` is its best number of trees. ``train`` with these gives
        ``model``.
    best : Point
        Of the winner.
    model : Model
        The winner's trees up to its best.
    candidates : tuple of CandidateResult
        In the plan's order.
    counts : mapping of str to int
        Pooled rows and frauds of both windows, and the summed weights of the banks.
    rounds, values : int
        Secure sums, and the values that they carried.
    """

    spec: SearchSpec
    winner: str
    params: BoosterParams
    best: Point
    model: Model
    candidates: tuple[CandidateResult, ...]
    counts: Mapping[str, int]
    rounds: int
    values: int

    @property
    def curves(self) -> dict[str, tuple[Point, ...]]:
        """The curve of each candidate, by its name."""
        return {each.name: each.curve for each in self.candidates}

    def to_json(self) -> bytes:
        """Return ``search.json``: canonical JSON, keys sorted, with a final newline."""
        document = {
            "metric": METRIC,
            "select_by": self.spec.select_by.value,
            "rungs": [{"trees": rung.trees, "alive": rung.alive} for rung in self.spec.rungs],
            "patience": self.spec.patience,
            "keep_each_share": self.spec.keep_each_share,
            "choice": {
                "name": self.winner,
                "trees": self.best.trees,
                SelectBy.MEAN_OF_BANKS.value: self.best.mean_of_banks,
                SelectBy.POOLED.value: self.best.pooled,
                "parameters": self.params.to_mapping(),
                "model_sha256": self.model.sha256,
            },
            "best_by": {by.value: self._best_by(by) for by in SelectBy},
            "candidates": [each.document() for each in self.candidates],
            "counts": dict(self.counts),
            "cost": {"rounds": self.rounds, "values_summed": self.values},
        }
        text = json.dumps(
            document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
        )
        return f"{text}\n".encode()

    def _best_by(self, select_by: SelectBy) -> dict[str, Any]:
        """Return the best point of all candidates by either way of comparing them."""
        found = [(*measured_best(each.curve, select_by), each.name) for each in self.candidates]
        # The first of equals, in the plan's order.
        point, value, name = max(found, key=lambda each: each[1])
        return {"name": name, "trees": point.trees, "value": value}


def chosen_params(params: BoosterParams, best: Point) -> BoosterParams:
    """Return a candidate's parameters with its best number of trees."""
    return replace(params, num_boost_round=best.trees)
