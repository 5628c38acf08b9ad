"""Compare a model of ours, tree by tree, with stock XGBoost trained on the same bins.

XGBoost chooses its own cuts, so it is given the bin *numbers* as feature values: with one value per
bin its cuts separate exactly our bins. Thresholds cannot be compared as numbers, only by the bins
they separate.

XGBoost takes a feature's number of categories from the highest code that a row has; ours is the one
in the data contract. The number matters: fewer than ``max_cat_to_onehot`` categories are split one
against the rest, ``max_cat_threshold`` counts them, and a partition always leaves one on either
side. So XGBoost gets one more row, of weight 0, that names the last category of each feature.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from fraudfed.boosting.bins import BinnedTable, Cuts, bin_table
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.xgboost_rules import version_of_release
from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.lab.oracle.same_rows import Agreement, JsonTree, SplitTables, compare
from fraudfed.parameters import NOT_XGBOOST, BoosterParams


@dataclass(frozen=True)
class TreeComparison:
    """How far two models agree.

    Attributes
    ----------
    identical, trees : int
        Trees that send every training row the same way, of all; see ``same_rows``.
    max_leaf_difference : float
        Largest absolute difference between corresponding leaves of identical trees.
    exchanged : int
        Identical trees in which the sides of some split are exchanged.
    unreached : int
        Further identical trees that differ for values that no training row of the node has.
    """

    identical: int
    trees: int
    max_leaf_difference: float
    exchanged: int = 0
    unreached: int = 0

    @property
    def remarks(self) -> str:
        """What identical trees are not identical in, in brackets; empty if in nothing."""
        found = []
        if self.exchanged:
            found.append(f"{self.exchanged} of them with sides exchanged")
        if self.unreached:
            found.append(f"{self.unreached} but for values that no training row of a node has")
        return f" ({', '.join(found)})" if found else ""


def installed_rules() -> str:
    """Return the ``xgboost_version`` whose trees the installed XGBoost grows.

    For comparisons with that XGBoost only: a run takes the rules from its parameters.
    """
    return version_of_release(xgboost.__version__)


def xgboost_parameters(settings: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
    """Return a run's parameters as ``xgboost.train`` takes them."""
    chosen = {
        # A list of constraints is no argument of xgboost.train, a tuple is.
        name: tuple(value) if name == "monotone_constraints" and isinstance(value, list) else value
        for name, value in settings.items()
        if name not in NOT_XGBOOST
    }
    return {"objective": "binary:logistic", "tree_method": "hist", "nthread": threads, **chosen}


def table_of_bins(table: TrainingTable, cuts: Cuts) -> TrainingTable:
    """Replace every value by the number of its bin; missing stays missing."""
    codes = _codes(bin_table(table, cuts))
    return TrainingTable(table.schema, codes, table.labels, table.weights, table.max_weight)


def train_on_bins(
    codes: TrainingTable, params: BoosterParams, settings: Mapping[str, Any], *, threads: int
) -> xgboost.Booster:
    """Train stock XGBoost ``hist`` on a table of bin numbers.

    Parameters
    ----------
    codes : TrainingTable
        From :func:`table_of_bins`.
    params : BoosterParams
        Gives ``max_bin`` and ``num_boost_round``.
    settings : mapping
        The run's parameters under XGBoost's names; those that are ours alone are left out.
    threads : int
        XGBoost's ``nthread``.
    """
    return xgboost.train(
        xgboost_parameters(settings, threads=threads),
        quantile_matrix(with_all_categories(codes), max_bin=params.max_bin, threads=threads),
        num_boost_round=params.num_boost_round,
    )


def with_all_categories(codes: TrainingTable) -> TrainingTable:
    """Append a row of weight 0 with the last category of each feature, if any of them has no row.

    It adds nothing to any sum. In numeric features it is like the first row.
    """
    last = codes.features[:1].copy()
    for feature, n_categories in enumerate(codes.schema.n_categories):
        if n_categories:
            last[0, feature] = n_categories - 1
    categorical = np.array(codes.schema.n_categories) > 0
    if (codes.features[:, categorical] == last[:, categorical]).any(axis=0).all():
        return codes
    weights = np.ones_like(codes.labels) if codes.weights is None else codes.weights
    return TrainingTable(
        codes.schema,
        np.concatenate([codes.features, last]),
        np.append(codes.labels, np.float32(0.0)),
        np.append(weights, np.float32(0.0)),
        codes.max_weight,
    )


def quantile_matrix(table: TrainingTable, *, max_bin: int, threads: int) -> xgboost.QuantileDMatrix:
    """Let XGBoost find cuts and bins of a table, of values or of bin numbers."""
    return xgboost.QuantileDMatrix(
        table.features,
        label=table.labels,
        weight=table.weights,
        feature_names=list(table.schema.names),
        feature_types=["c" if count else "q" for count in table.schema.n_categories],
        enable_categorical=True,
        max_bin=max_bin,
        nthread=threads,
    )


def compare_trees(
    ours: bytes, theirs: xgboost.Booster, cuts: Cuts, codes: TrainingTable
) -> TreeComparison:
    """Compare our ``model.json``, trained on values, with a booster trained on bin numbers."""
    comparer = TreeComparer(cuts, codes)
    for tree, other in zip(
        json_trees(ours), json_trees(bytes(theirs.save_raw("json"))), strict=True
    ):
        comparer.add(tree, other, codes.features)
    return comparer.result


class TreeComparer:
    """Counts how many pairs of trees agree.

    Parameters
    ----------
    cuts : Cuts
    codes : TrainingTable
        All rows, as bin numbers.
    """

    def __init__(self, cuts: Cuts, codes: TrainingTable) -> None:
        self._cuts = cuts
        self._present = [
            _present(codes.features[:, feature], edges.size)
            for feature, edges in enumerate(cuts.values)
        ]
        self._found: list[tuple[Agreement, float]] = []

    def add(self, ours: JsonTree, theirs: JsonTree, codes: Float32Array) -> None:
        """Compare two trees on the rows that both were trained on, given as bin numbers."""
        pair = SplitTables.of_ours(ours, self._cuts), SplitTables.of_xgboost(theirs, self._cuts)
        self._found.append(compare(*pair, codes, self._present))

    @property
    def result(self) -> TreeComparison:
        """What has been found so far."""
        counts = Counter(agreement for agreement, _ in self._found)
        return TreeComparison(
            identical=len(self._found) - counts[Agreement.NONE],
            trees=len(self._found),
            max_leaf_difference=max((difference for _, difference in self._found), default=0.0),
            exchanged=counts[Agreement.EXCHANGED],
            unreached=counts[Agreement.UNREACHED],
        )


def json_trees(model: bytes) -> list[JsonTree]:
    """Return the trees of XGBoost's JSON."""
    found: list[JsonTree] = json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]
    return found


def _codes(binned: BinnedTable) -> Float32Array:
    codes = binned.bins.T.astype(np.float32)
    for feature, edges in enumerate(binned.cuts.values):
        codes[binned.bins[feature] == len(edges), feature] = np.nan
    return codes


def _present(codes: Float32Array, n_bins: int) -> BoolArray:
    """Tell in which bins rows lie; the last entry, of a missing value, is always set."""
    present = np.zeros(n_bins + 1, dtype=np.bool_)
    present[codes[~np.isnan(codes)].astype(np.int64)] = True
    present[n_bins] = True
    return present
