"""Features of payments from what all banks entered: the formulas behind ``shared_...``."""

from collections.abc import Sequence

import numpy as np

from fraudfed.catalogue.recipe import WINDOW_DAYS
from fraudfed.dtypes import Int64Array
from fraudfed.features.formulas import SECONDS_PER_DAY, FeatureColumns, fraud_rate
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.wire.messages import RiskEntity


def shared_features(
    shared: SharedRisk,
    entity: RiskEntity,
    identifiers: Sequence[str],
    codes: Int64Array,
    event_time: Int64Array,
    *,
    named: str | None = None,
) -> FeatureColumns:
    """Yield the features of payments that have an entity, as ``(name, values)``.

    All of them are missing for an entity that the tables do not count by.

    Parameters
    ----------
    shared : SharedRisk
    entity : RiskEntity
    identifiers : sequence of str
        Distinct.
    codes : ndarray of shape (n,), dtype=int64
        Index of the identifier of each payment.
    event_time : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    named : str or None
        What the features call the entity; None: as it is.
    """
    named = entity.value if named is None else named
    if entity not in shared.entities:
        for name in ("count", "fraud_count", "fraud_rate"):
            for width in WINDOW_DAYS:
                yield f"shared_{named}_{name}_{width}d", np.full(codes.size, np.nan)
        return
    days = event_time // SECONDS_PER_DAY
    found = shared.windows(entity, identifiers, codes, days, widths=WINDOW_DAYS)
    for index, width in enumerate(WINDOW_DAYS):
        count, frauds = found.transactions[index], found.frauds[index]
        yield f"shared_{named}_count_{width}d", count
        yield f"shared_{named}_fraud_count_{width}d", frauds
        # Frauds may outnumber payments, too, where too few customers of a bank paid.
        yield f"shared_{named}_fraud_rate_{width}d", fraud_rate(count, frauds)
