"""How the budget of a training is divided over what it opens, before any row is read.

Law: the rho of all releases of a plan, each rounded up as the ledger rounds it, add up to at most
what epsilon and delta allow.

What one unit moves
-------------------
Gradients and hessians are summed in units of 2^-16. Let w be the largest effective weight of a
row, in these units and rounded up: ``row_norm``. Training rounds each row so that ``g^2 + (h /
s)^2 <= w^2`` with s = 5/16 (``fraudfed.boosting.shard.capped``; h = |g| (1 - |g|) makes that
free). With ``sigma_h >= s sigma_g`` a row that is in one released cell then moves it by ``(g /
sigma_g)^2 + (h / sigma_h)^2 <= (w / sigma_g)^2``, and one in m cells by m times as much. For the
unit customer the same holds with ``C w`` for all rows of a customer together: the norms of
changes of cells add up to at most the sum of the rows' norms, and the square root of a sum of
squares is at most the sum.

Counts are in units of 2^-16, too, so that the noise of one bank is never coarse: a row moves one
of two counts by at most w, and in each pass of the search for cuts one bucket of each numeric
feature by 1; a customer moves each by at most ``row_cap`` times that.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.accounting import RHO_GRID, rho_of, usable_delta
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit, PrivateCuts, TrainingWay

#: Fractional bits of what is summed with noise.
PRIVATE_BITS: Final = 16
#: s: hessians may be moved by this much of what gradients are, for no loss of privacy.
HESSIAN_RATIO: Final = Fraction(5, 16)
#: Sums of the search for noised cuts: 8 leading bits of a value, then 12, 16 and 20.
CUTS_PASSES: Final = 4
#: Way histograms: share of a tree's budget for the sums of its leaves and, for all inner nodes
#: together, of nodes as a whole; the rest is for bins.
LEAVES_SHARE: Final = Fraction(1, 4)
TOTALS_SHARE: Final = Fraction(1, 8)
#: The ledger rounds a rho up to its grid, and adds a distance far below that.
_LEDGER_STEPS: Final = 2
#: Sums and their noise stay in int64.
_LARGEST_VARIANCE: Final = 1 << 62


@dataclass(frozen=True, eq=False)
class PlannedRelease:
    """A kind of release and how often it comes.

    Attributes
    ----------
    what : str
        ``cuts``, ``counts``, ``bins``, ``nodes`` or ``leaves``.
    release : NoisedRelease
        With the variance of a gradient; that of a hessian is ``paired_variance`` of it.
    times : int
    """

    what: str
    release: NoisedRelease
    times: int

    @property
    def rho(self) -> Fraction:
        """What all of them cost, without rounding."""
        return self.times * self.release.moved / 2


@dataclass(frozen=True, eq=False, kw_only=True)
class PrivacyPlan:
    """All releases of one training; the same at every bank.

    Attributes
    ----------
    rho : Fraction
        What epsilon and delta allow.
    row_norm, unit_norm : int
        Most that a row, and that a unit, weighs in the sums of one tree; units of 2^-16.
    count_cap : int
        Rows of a unit that counts and metrics take at most.
    metric_rho : Fraction
        What is left for the metrics at the end.
    cuts, counts, bins, nodes, leaves : PlannedRelease or None
        None is no such release. ``nodes`` are those of the way histograms.
    """

    rho: Fraction
    row_norm: int
    unit_norm: int
    count_cap: int
    metric_rho: Fraction
    cuts: PlannedRelease | None = None
    counts: PlannedRelease | None = None
    bins: PlannedRelease | None = None
    nodes: PlannedRelease | None = None
    leaves: PlannedRelease | None = None

    def __iter__(self) -> Iterator[PlannedRelease]:
        """Iterate over the releases that there are; the metrics are not among them."""
        planned = (self.cuts, self.counts, self.bins, self.nodes, self.leaves)
        return iter([each for each in planned if each is not None])


def plan_of(
    terms: PrivacyTerms,
    params: BoosterParams,
    *,
    n_features: int,
    n_numeric: int,
    max_weight: float = 1.0,
) -> PrivacyPlan:
    """Divide the budget of a training.

    Parameters
    ----------
    terms : PrivacyTerms
    params : BoosterParams
    n_features, n_numeric : int
        Features, and those of them that are numeric: their cuts are sought.
    max_weight : float
        Public bound of the rows' weights.

    Raises
    ------
    ParameterError
        If shares leave nothing for trees, or noise would exceed 62 bits.
    """
    total = rho_of_terms(terms)
    shares = {
        "cuts": terms.cuts_share if _seeks_cuts(terms, n_numeric) else 0.0,
        "counts": terms.counts_share if params.base_score is None else 0.0,
        "metric": terms.metric_share,
    }
    for name, share in shares.items():
        if not 0.0 <= share < 1.0:
            raise ParameterError(f"{name}_share is {share!r}, expected at least 0 and below 1")
    rho = {name: Fraction(share) * total for name, share in shares.items()}
    left = total - sum(rho.values())
    if left <= 0:
        raise ParameterError(
            "the shares for cuts, counts and metrics leave nothing for the trees; lower one of them"
        )
    row_norm = row_norm_of(params, max_weight=max_weight)
    by_customer = terms.unit is PrivacyUnit.CUSTOMER
    count_cap = terms.row_cap if by_customer else 1
    unit_norm = math.floor(Fraction(terms.gradient_cap) * row_norm) if by_customer else row_norm
    one_row = 1 << PRIVATE_BITS
    releases = {
        "cuts": _planned("cuts", rho["cuts"], CUTS_PASSES, n_numeric * (count_cap * one_row) ** 2),
        "counts": _planned("counts", rho["counts"], 1, (count_cap * row_norm) ** 2),
        **_of_trees(terms, params, left, unit_norm**2, n_features=n_features),
    }
    return PrivacyPlan(
        rho=total,
        row_norm=row_norm,
        unit_norm=unit_norm,
        count_cap=count_cap,
        metric_rho=rho["metric"],
        **releases,
    )


def rho_of_terms(terms: PrivacyTerms) -> Fraction:
    """Return the rho that the terms allow one run, rounded down; the tails of noise are paid."""
    return rho_of(terms.epsilon, usable_delta(terms.epsilon, terms.delta))


def row_norm_of(params: BoosterParams, *, max_weight: float) -> int:
    """Return the largest effective weight of a row in units of 2^-16, rounded up."""
    weight = np.float32(max_weight)
    largest = max(weight, weight * np.float32(params.scale_pos_weight))
    return math.ceil(Fraction(float(largest)) * (1 << PRIVATE_BITS))


def paired_variance(gradient_variance: int) -> Int64Array:
    """Return the variances of a gradient and a hessian that are released together; shape (2, 1)."""
    hessian = math.ceil(gradient_variance * HESSIAN_RATIO**2)
    return np.array([[gradient_variance], [hessian]], dtype=np.int64)


def variance_of(release: NoisedRelease) -> int:
    """Return the one variance of a planned release."""
    if not isinstance(release.variance, int):
        raise TypeError("the variance of a planned release is one number")
    return release.variance


def _seeks_cuts(terms: PrivacyTerms, n_numeric: int) -> bool:
    return terms.cuts is PrivateCuts.NOISED and n_numeric > 0


def _of_trees(
    terms: PrivacyTerms,
    params: BoosterParams,
    rho: Fraction,
    squared_norm: int,
    *,
    n_features: int,
) -> dict[str, PlannedRelease | None]:
    n_trees, depth = params.num_boost_round, params.max_depth
    if terms.way is TrainingWay.CYCLIC:
        return {"bins": _planned("bins", rho, n_trees, squared_norm)}
    if terms.way is TrainingWay.RANDOM_SPLITS:
        return {"leaves": _planned("leaves", rho, n_trees, squared_norm)}
    of_leaves, of_nodes = LEAVES_SHARE * rho, TOTALS_SHARE * rho
    levels = n_trees * depth
    in_bins = min(terms.features_per_tree, n_features) * squared_norm
    return {
        "bins": _planned("bins", rho - of_leaves - of_nodes, levels, in_bins),
        "nodes": _planned("nodes", of_nodes, levels, squared_norm),
        "leaves": _planned("leaves", of_leaves, n_trees, squared_norm),
    }


def _planned(what: str, rho: Fraction, times: int, squared_move: int) -> PlannedRelease | None:
    """Return releases of equal noise that cost ``rho`` together; None if there is nothing to."""
    if rho == 0 or times == 0:
        return None
    each = Fraction(math.floor(rho / times * RHO_GRID) - _LEDGER_STEPS, RHO_GRID)
    if each <= 0:
        raise ParameterError(f"the budget for {what} vanishes; choose fewer trees")
    variance = math.ceil(squared_move / (2 * each))
    if variance > _LARGEST_VARIANCE:
        raise ParameterError(
            f"the noise of {what} leaves 62 bits; choose a larger epsilon, fewer trees or smaller "
            "weights"
        )
    release = NoisedRelease(variance=variance, moved=Fraction(squared_move, variance))
    return PlannedRelease(what, release, times)
