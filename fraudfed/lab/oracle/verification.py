"""Whether a training lost anything: what it is checked against where all rows lie in one place.

Two checks, always. Stock XGBoost must grow the same trees, and our own training on the one pooled
table must give the same model, byte for byte: neither encryption nor the split of the rows over
banks changes anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.lab.oracle.our_draws import can_be_given, compare_on_our_draws, has_draws
from fraudfed.lab.oracle.same_trees import (
    TreeComparison,
    compare_trees,
    json_trees,
    table_of_bins,
    train_on_bins,
)
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True)
class Verification:
    """What the two checks found.

    Attributes
    ----------
    trees : int
        Of the model.
    stock : TreeComparison or None
        Against stock XGBoost; None if it cannot be given our draws (``colsample_bylevel`` and
        ``colsample_bynode``).
    our_draws : bool
        Whether XGBoost was given each tree's rows and columns, because the training samples them.
        Then it was given the margins before each tree, too.
    same_bytes : bool
        Whether our own training on the one pooled table gives the same model.
    """

    trees: int
    stock: TreeComparison | None
    our_draws: bool
    same_bytes: bool

    @property
    def identical(self) -> int | None:
        """Trees identical to XGBoost's; None if they were not compared."""
        return None if self.stock is None else self.stock.identical

    @property
    def is_lossless(self) -> bool:
        """Whether nothing differs in what was compared."""
        return self.same_bytes and self.identical in (None, self.trees)

    @property
    def sentence(self) -> str:
        """What was compared and what came of it, in one sentence without a full stop."""
        on_one_table = (
            "our own training on the one pooled table gives the same model, byte for byte"
            if self.same_bytes
            else "our own training on the one pooled table gives ANOTHER model"
        )
        if self.stock is None:
            return (
                "stock XGBoost cannot be given the columns that single levels and nodes draw "
                f"(colsample_bylevel, colsample_bynode), so it was not compared; {on_one_table}"
            )
        given = (
            "on the same bins, given the rows and columns that each tree draws"
            if self.our_draws
            else "on the pooled rows and the same bins"
        )
        return (
            f"{self.stock.identical} of {self.trees} trees are identical to stock XGBoost's "
            f"{given}{self.stock.remarks}; {on_one_table}"
        )


def verify_training(
    model_json: bytes,
    table: TrainingTable,
    settings: Mapping[str, Any],
    *,
    validation: TrainingTable | None = None,
    threads: int,
) -> Verification:
    """Check a model that banks trained together, with all their rows in one table.

    Parameters
    ----------
    model_json : bytes
        As every bank has it.
    table : TrainingTable
        All banks' training rows, in any order.
    settings : mapping
        The run's parameters under XGBoost's names.
    validation : TrainingTable or None
        All banks' rows for metrics, if the run had any; early stopping needs them.
    threads : int
        Of both trainings.

    Raises
    ------
    ParameterError
        If the parameters are none, or ask for early stopping without validation rows.
    DataError
        If the rows cannot be trained on.
    StateError
        If the bytes are no model of the table's features.
    """
    params = BoosterParams.parse(settings)
    own = train(params, table, SoloCommunicator(), validation=validation, threads=threads)
    return Verification(
        trees=len(json_trees(model_json)),
        stock=_compare_with_stock(model_json, table, own.cuts, settings, threads=threads),
        our_draws=has_draws(params),
        same_bytes=own.model.to_json() == model_json,
    )


def _compare_with_stock(
    model_json: bytes,
    table: TrainingTable,
    cuts: Cuts,
    settings: Mapping[str, Any],
    *,
    threads: int,
) -> TreeComparison | None:
    params = BoosterParams.parse(settings)
    if not can_be_given(params):
        return None
    if has_draws(params):
        return compare_on_our_draws(model_json, table, cuts, settings, threads=threads)
    codes = table_of_bins(table, cuts)
    # With early stopping, the model ends with its best tree.
    grown = replace(params, num_boost_round=len(json_trees(model_json)))
    stock = train_on_bins(codes, grown, settings, threads=threads)
    return compare_trees(model_json, stock, cuts, codes)
