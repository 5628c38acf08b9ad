"""Which training parameters have a meaning under privacy terms."""

from typing import Final

from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.terms import PrivacyTerms, TrainingWay

#: A tree of the ways whose trees are full has 2^depth leaves.
_DEEPEST: Final = 10


#: The longest step of a leaf, before ``eta``, where ``max_delta_step`` sets no limit: with noise
#: there must be one.
_LONGEST_STEP: Final = 1.0


def longest_step(params: BoosterParams) -> float:
    """Return how far a leaf's weight may be from 0 in a private training, before ``eta``."""
    return params.max_delta_step or _LONGEST_STEP


def check_private_params(params: BoosterParams, terms: PrivacyTerms) -> None:
    """Check that parameters have a meaning under privacy terms; knows no rows.

    Raises
    ------
    ParameterError
        If not, naming the parameter.
    """
    refused = {
        "subsample": (
            params.subsample < 1.0,
            "which rows a tree takes is a public draw, so it hides nobody",
        ),
        "early_stopping_rounds": (
            params.early_stopping_rounds is not None,
            "each look at the validation rows would cost a part of the bound",
        ),
        "monotone_constraints": (
            any(direction for _, direction in params.constrained()),
            "noised sums are not held to directions",
        ),
        "grow_policy": (params.grow_policy != "depthwise", "trees grow level by level"),
        "max_depth": (
            not 1 <= params.max_depth <= _DEEPEST,
            f"expected 1 to {_DEEPEST}",
        ),
        "max_leaves": (
            params.max_leaves > 0 and terms.way is not TrainingWay.CYCLIC,
            "trees of this way are full",
        ),
        "min_child_banks": (
            params.min_child_banks > 0,
            "how many banks have rows on a side of a split is an exact count of rows",
        ),
        "min_bank_share": (
            params.min_bank_share > 0.0,
            "what share a bank has in a leaf follows from exact sums",
        ),
        "max_bank_weight": (
            params.max_bank_weight > 0,
            "one row more changes the weights of all rows of its bank, which no bound covers",
        ),
        "base_score": (
            params.base_score is None and terms.counts_share <= 0.0,
            "and counts_share is 0: the share of frauds is declared or noised, never exact",
        ),
    }
    for name in ("colsample_bytree", "colsample_bylevel", "colsample_bynode"):
        refused[name] = (
            getattr(params, name) < 1.0,
            "the way of training chooses the features (features_per_tree)",
        )
    for name, (is_refused, reason) in refused.items():
        if is_refused:
            raise ParameterError(
                f"parameter {name} is {getattr(params, name)!r} in a private training: {reason}"
            )
