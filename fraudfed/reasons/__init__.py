"""Why a payment was flagged: contributions of features, grouped and put into words."""

from fraudfed.reasons.catalogue import PHRASES, Catalogue
from fraudfed.reasons.reasons import (
    Reason,
    group_sums,
    ranked,
    reasons_in,
    reasons_of,
)
from fraudfed.reasons.shown import shown_values, with_shown

__all__ = [
    "PHRASES",
    "Catalogue",
    "Reason",
    "group_sums",
    "ranked",
    "reasons_in",
    "reasons_of",
    "shown_values",
    "with_shown",
]
