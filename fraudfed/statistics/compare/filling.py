"""Columns and categories without values, and labels that are exchanged."""

import math
from typing import Final

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.statistics.compare.finding import Difference, Kind

_FEWEST_ROWS: Final = 100
#: Others' share of rows with a value, from which a column without any is noted.
_FILLED: Final = 0.05
#: The same from which it looks like a mistake: no kind of bank explains it.
_MOSTLY_FILLED: Final = 0.95
#: Difference of missing shares that is noted.
_NOTED_MISSING: Final = 0.25
#: Others' share of a category, from which its absence is noted.
_USED: Final = 0.02
_FEWEST_LABELS: Final = 200


def compare_missing(
    column: str, own: tuple[int, int], others: tuple[int, int], *, is_source: bool
) -> Difference | None:
    """Return how the share of missing values differs, None if it does not.

    Parameters
    ----------
    column : str
    own, others : (int, int)
        Missing values, and rows.
    is_source : bool
        Whether the bank's file holds the column; what is computed from others is empty with them.
    """
    if min(own[1], others[1]) < _FEWEST_ROWS:
        return None
    mine, theirs = own[0] / own[1], others[0] / others[1]
    evidence = f"{own[1]:,} rows here, {others[1]:,} at the other banks"
    if mine == 1.0 and theirs <= 1.0 - _FILLED:
        return Difference(
            kind=Kind.EMPTY,
            column=column,
            is_mistake=is_source and theirs <= 1.0 - _MOSTLY_FILLED,
            what=f"no row has a value, {1 - theirs:.0%} have one at the other banks",
            evidence=evidence,
            what_to_do="map the column if the bank has it; what is built on it is missing here",
        )
    if abs(mine - theirs) < _NOTED_MISSING:
        return None
    return Difference(
        kind=Kind.MISSING,
        column=column,
        is_mistake=False,
        what=f"{mine:.0%} of the values are missing, {theirs:.0%} at the other banks",
        evidence=evidence,
        what_to_do="check what the mapping reads as missing, unless the bank has other payments",
    )


def compare_categories(
    column: str, cells: tuple[str, ...], own: Int64Array, others: Int64Array
) -> Difference | None:
    """Return which categories are never used here, None if there are none.

    Parameters
    ----------
    own, others : ndarray of shape (n_cells,), dtype=int64
        Rows of each category.
    """
    n_own, n_others = int(own.sum()), int(others.sum())
    if min(n_own, n_others) < _FEWEST_ROWS:
        return None
    shares = others / n_others
    unused = np.flatnonzero((own == 0) & (shares >= _USED))
    if not unused.size:
        return None
    named = ", ".join(f"{cells[cell]} ({shares[cell]:.0%} there)" for cell in unused.tolist())
    return Difference(
        kind=Kind.UNUSED,
        column=column,
        is_mistake=False,
        what=f"never used here: {named}",
        evidence=f"{n_own:,} values here, {n_others:,} at the other banks",
        what_to_do="check that the mapping gives these values, unless the bank has none of them",
    )


def compare_labels(own: tuple[int, int], others: tuple[int, int]) -> Difference | None:
    """Return whether labels are exchanged; both are frauds, and rows with a label."""
    if min(own[1], others[1]) < _FEWEST_LABELS:
        return None
    # Half a row on either side, so that no share is 0 or 1 (Anscombe's empirical logit).
    mine, theirs = (math.log((f + 0.5) / (n - f + 0.5)) for f, n in (own, others))
    if mine * theirs >= 0 or abs(mine + theirs) >= abs(mine - theirs) / 3:
        return None
    return Difference(
        kind=Kind.LABELS,
        column="is_fraud",
        is_mistake=True,
        what=(
            f"{own[0] / own[1]:.2%} of the rows are fraud, {others[0] / others[1]:.2%} at the "
            "other banks"
        ),
        evidence=f"exchanged, {1 - own[0] / own[1]:.2%} would be; {own[1]:,} rows with a label",
        what_to_do="check which value of the source means fraud: 0 and 1 seem to be exchanged",
    )
