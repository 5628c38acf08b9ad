"""Windows in time of some of a bank's payments, which know of all reports.

Which window a payment is in, and how it is labelled there, it says itself. Two things depend on
other payments: whether one of its names was reported before. For that all *frauds* of the bank are
enough, which are few; they are gathered in a first pass.

Law: the windows of the pieces, one after the other, are those of all rows at once; customers, cards
and accounts have other numbers, which are the same in every piece.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pandas as pd

from fraudfed.dtypes import Float32Array
from fraudfed.features.table import FeatureTable
from fraudfed.intake.outcomes import by_hash
from fraudfed.intake.windows import WindowCounts, Windows, windows_in_time
from fraudfed.payments.columns import LABEL_COLUMNS
from fraudfed.wire.messages import DataContract

_NAMES: Final = (
    "customer_id",
    "card_id",
    "payee_id",
    "payer_id",
    "terminal_id",
    "merchant_id",
)


def reported_frauds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the names and reports of a piece's frauds, of whatever direction or population."""
    kept = [name for name in ("event_time", *LABEL_COLUMNS, *_NAMES) if name in rows.columns]
    if not all(name in rows.columns for name in LABEL_COLUMNS):
        return rows.iloc[:0][kept]
    is_fraud = (rows["is_fraud"] == 1).fillna(False).to_numpy(dtype=np.bool_)
    return rows.loc[is_fraud, kept]


def piece_windows(
    built: FeatureTable,
    rows: pd.DataFrame,
    frauds: pd.DataFrame,
    contract: DataContract,
    *,
    weights: Float32Array | None = None,
    with_customers: bool = False,
) -> Windows:
    """Divide a piece of a bank's payments by the contract's cut-offs.

    Parameters
    ----------
    built, rows, contract, weights, with_customers
        As for ``windows_in_time``, of the piece.
    frauds : DataFrame
        ``reported_frauds`` of all pieces.
    """
    # A fraud of this piece counts twice, which says no more than once.
    known = pd.concat([rows, frauds.astype(rows.dtypes[frauds.columns].to_dict())])
    return windows_in_time(
        built,
        known,
        contract,
        weights=weights,
        with_customers=with_customers,
        code=by_hash,
    )


def total_counts(pieces: Iterable[Mapping[str, WindowCounts]]) -> dict[str, WindowCounts]:
    """Add up the ``counts`` of the windows of all pieces."""
    found: dict[str, WindowCounts] = {}
    for counts in pieces:
        for name, count in counts.items():
            before = found.get(name, WindowCounts(0, 0, 0))
            found[name] = WindowCounts(
                rows=before.rows + count.rows,
                frauds=before.frauds + count.frauds,
                censored=before.censored + count.censored,
                known_compromised=before.known_compromised + count.known_compromised,
            )
    return found
