"""Whether the parameters and the contract of a training fit its privacy terms."""

from fraudfed.catalogue.recipe import Others
from fraudfed.catalogue.recipes import find_recipe
from fraudfed.errors import RunDescriptionError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.accounting import usable_delta
from fraudfed.privacy.parameters import check_private_params
from fraudfed.privacy.terms import History, PrivacyUnit, PrivateCuts
from fraudfed.wire.messages import DataContract, FeatureType, PrivacySpec


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
    check_private_params(params, privacy.terms())
    if privacy.cuts is PrivateCuts.CONTRACT:
        _check_cuts(params, contract)
    if privacy.unit is PrivacyUnit.CUSTOMER and contract.kind != "transactions":
        raise RunDescriptionError(
            "privacy: unit is customer, and the data contract is of a table, which names no "
            "customers; use unit row, or transactions"
        )
    check_history_features(privacy.history, contract)
    if privacy.history is History.NONE and contract.shared_risk:
        raise RunDescriptionError(
            f"privacy: history is none, and the data contract names {len(contract.shared_risk)} "
            "risk tables, which hold other customers' payments; leave them out, or say where they "
            "come from"
        )


def _check_cuts(params: BoosterParams, contract: DataContract) -> None:
    for spec in contract.features:
        if spec.type is not FeatureType.NUMERIC:
            continue
        if spec.cuts is None:
            raise RunDescriptionError(
                f"privacy: cuts are those of the contract, and feature {spec.name!r} has none "
                "there; give all numeric features cuts, or have them found with noise"
            )
        if len(spec.cuts) >= params.max_bin:
            raise RunDescriptionError(
                f"privacy: feature {spec.name!r} has {len(spec.cuts)} cuts, which make "
                f"{len(spec.cuts) + 1} bins, and max_bin is {params.max_bin}"
            )


def check_history_features(history: History, contract: DataContract) -> None:
    """Refuse features that hold other customers' payments where the terms say that there are none.

    Whether tables carry noise is for each bank to see (``bank_node.jobs.risk.private_history``).
    What a consortium's own columns hold nobody can see from a contract: they are declared.

    Raises
    ------
    RunDescriptionError
        Under ``none`` for any such feature; under ``dp-tables`` for those from payments of the
        same bank, which carry no noise.
    """
    if history is History.DECLARED or contract.kind != "transactions" or contract.recipe is None:
        return
    refused = {Others.OF_BANK, Others.IN_TABLES} if history is History.NONE else {Others.OF_BANK}
    names = {spec.name for spec in contract.features}
    found = [
        definition.name
        for definition in find_recipe(contract.recipe).definitions(shared=True)
        if definition.name in names and definition.others in refused
    ]
    if found:
        where = "as they are" if history is History.DP_TABLES else "in some way"
        raise RunDescriptionError(
            f"privacy: history is {history.value}, and {len(found)} features hold payments of "
            f"other customers {where} ({found[0]} is the first); leave them out, or say history "
            "'declared': then the bound is of rows or customers with these traces left in"
        )
