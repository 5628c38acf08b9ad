"""Whether the parameters and the contract of a training fit its privacy terms."""

from fraudfed.errors import ParameterError, RunDescriptionError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.accounting import usable_delta
from fraudfed.privacy.terms import History, PrivacyUnit
from fraudfed.wire.messages import DataContract, PrivacySpec


def check_privacy(privacy: PrivacySpec, params: BoosterParams, contract: DataContract) -> None:
    """Check what a training with privacy terms may ask for.

    Raises
    ------
    ParameterError
        If a parameter would open what no noise covers, or would spend the bound for nothing; or if
        delta does not pay for the tails of the noise.
    RunDescriptionError
        If the data have no such unit, or another history.
    """
    usable_delta(privacy.epsilon, privacy.delta)
    if params.subsample < 1:
        raise ParameterError(
            f"subsample is {params.subsample:g}, expected 1 under privacy terms: which rows a tree "
            "takes is a public draw, so it hides nobody and makes the noise no smaller"
        )
    if params.early_stopping_rounds is not None:
        raise ParameterError(
            f"early_stopping_rounds is {params.early_stopping_rounds}, expected none under privacy "
            "terms: each look at the validation rows would cost a part of the bound; say the "
            "number of trees"
        )
    if params.min_child_banks > 0:
        raise ParameterError(
            f"min_child_banks is {params.min_child_banks}, expected 0 under privacy terms: how "
            "many banks have rows on a side of a split is an exact count of rows"
        )
    if privacy.counts_share == 0 and params.base_score is None:
        raise ParameterError(
            "base_score is not given and counts_share is 0, expected one of both: under privacy "
            "terms the share of frauds is declared or noised, never exact"
        )
    if privacy.unit is PrivacyUnit.CUSTOMER and contract.kind != "transactions":
        raise RunDescriptionError(
            "privacy: unit is customer, and the data contract is of a table, which names no "
            "customers; use unit row, or transactions"
        )
    if privacy.history is History.NONE and contract.shared_risk:
        raise RunDescriptionError(
            f"privacy: history is none, and the data contract names {len(contract.shared_risk)} "
            "risk tables, which hold other customers' payments; leave them out, or say where they "
            "come from"
        )
