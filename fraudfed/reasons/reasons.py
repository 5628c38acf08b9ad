"""The reasons of one payment: contributions by group, the largest first, in words.

Contributions are those of exact TreeSHAP (Lundberg, Erion, Lee, "Consistent Individualized Feature
Attribution for Tree Ensembles", 2018, algorithm 2), as ``xgboost.Booster.predict`` gives them with
``pred_contribs``: log-odds, one for each feature and one for the base, which add up to the margin.
Law: so do the groups' sums and the base. Equal contributions and rows give equal reasons.
"""

from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from fraudfed.dtypes import Float32Array, Float64Array
from fraudfed.reasons.catalogue import Catalogue
from fraudfed.reasons.phrase import first_fitting
from fraudfed.wire.messages import DataContract

#: Fewest and most reasons of an alert, as far as so many groups raise its score.
FEWEST, MOST = 3, 5
#: Beyond the fewest, a group is a reason from this share of all that raises the score on.
LEAST_SHARE: Final = 0.05
#: No group is a reason below it: the text would explain next to nothing.
_NEGLIGIBLE: Final = 0.01
#: Sums are compared at this step (log-odds), far below what a text can mean and far above the
#: rounding of float32: sums that differ by rounding alone are a tie, which the catalogue's order
#: decides.
TIE_STEP: Final = 2.0**-16


class Reason(BaseModel):
    """Why a score is as high as it is, in one phrase."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    """Of the phrase; stable."""
    title: str
    """What the phrase is about."""
    contribution: float
    """Sum of the group's contributions, log-odds; above 0."""
    share: float
    """Of everything that raises the score, 0 to 1."""
    analyst: str
    """With the payment's values."""
    customer: str
    """A warning, without values and without others' data; may be empty. Each is said once."""
    complaint: str
    """What may answer a complaint."""


def group_sums(contributions: Float32Array, catalogue: Catalogue) -> Float64Array:
    """Add contributions up by phrase.

    Parameters
    ----------
    contributions : ndarray of shape (n_features + 1,) or (n_rows, n_features + 1), dtype=float32
        Log-odds, the base last, as ``pred_contribs`` gives them.
    catalogue : Catalogue

    Returns
    -------
    ndarray of shape (n_phrases,) or (n_rows, n_phrases), dtype=float64

    Raises
    ------
    ValueError
        If there is not one contribution for each feature, and one for the base.
    """
    n_features = len(catalogue.names)
    if contributions.shape[-1] != n_features + 1:
        raise ValueError(
            f"{contributions.shape[-1]} contributions, expected {n_features} and the base"
        )
    n_phrases = len(catalogue.phrases)
    per_feature = contributions[..., :-1].astype(np.float64)
    # Feature by feature, in column order, in both: the order of a sum is part of its last bits.
    if per_feature.ndim == 1:
        sums = np.zeros(n_phrases)
        sums += np.bincount(catalogue.groups, weights=per_feature, minlength=n_phrases)
        return sums
    sums = np.zeros((len(per_feature), n_phrases))
    for feature, group in enumerate(catalogue.groups.tolist()):
        sums[:, group] += per_feature[:, feature]
    return sums


def ranked(sums: Float64Array, *, most: int = MOST) -> list[int]:
    """Return which phrases are reasons, the largest first.

    Parameters
    ----------
    sums : ndarray of shape (n_phrases,), dtype=float64
    most : int

    Raises
    ------
    ValueError
        If ``most`` is below 1.
    """
    if most < 1:
        raise ValueError(f"most is {most}, expected at least 1")
    raised = float(sums[sums > 0].sum())
    steps = np.rint(sums / TIE_STEP)
    order = sorted(np.flatnonzero(steps > 0).tolist(), key=lambda group: (-steps[group], group))
    return [
        group
        for place, group in enumerate(order[:most])
        if sums[group] >= raised * (_NEGLIGIBLE if place < FEWEST else LEAST_SHARE)
    ]


def reasons_in(
    catalogue: Catalogue,
    contributions: Float32Array,
    row: Float32Array,
    *,
    currency: str | None = None,
    most: int = MOST,
) -> tuple[Reason, ...]:
    """Return the reasons of one payment; a service that answers many keeps the catalogue.

    Parameters
    ----------
    catalogue : Catalogue
    contributions : ndarray of shape (n_features + 1,), dtype=float32
        As for ``group_sums``.
    row : ndarray of shape (n_features,), dtype=float32
        The payment's features; NaN is missing.
    currency : str or None
        Of the payment, for the case that the contract converts no amounts.
    most : int
        At most so many.

    Raises
    ------
    ValueError
        If the lengths do not fit, or ``most`` is below 1.
    """
    sums = group_sums(contributions, catalogue)
    raised = float(sums[sums > 0].sum())
    values = catalogue.values(row, currency=currency)
    reasons = []
    warned: set[str] = set()
    for group in ranked(sums, most=most):
        phrase = catalogue.phrases[group]
        customer = first_fitting(phrase.customer, values)
        reasons.append(
            Reason(
                code=phrase.code,
                title=phrase.title,
                contribution=float(sums[group]),
                share=float(sums[group]) / raised,
                analyst=first_fitting(phrase.analyst, values),
                customer="" if customer in warned else customer,
                complaint=first_fitting(phrase.complaint, values),
            )
        )
        warned.add(customer)
    return tuple(reasons)


def reasons_of(
    contributions: Float32Array,
    row: Float32Array,
    *,
    contract: DataContract,
    currency: str | None = None,
    most: int = MOST,
) -> tuple[Reason, ...]:
    """Return the reasons of one payment by its contract.

    Parameters
    ----------
    contributions, row, currency, most
        As for ``reasons_in``.
    contract : DataContract

    Raises
    ------
    ValueError
        If the lengths do not fit, ``most`` is below 1, or a feature is not the recipe's.
    """
    return reasons_in(Catalogue.of(contract), contributions, row, currency=currency, most=most)
