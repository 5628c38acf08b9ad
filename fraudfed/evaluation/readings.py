"""What to take payments for whose label nobody knows.

A payment that was blocked and not reported is censored. Metrics without it are of a world that the
bank's own rules have changed; with it, they need a guess. So they are computed for every way to
read the labels, and the two guesses are the ends of what can be true.
"""

from enum import StrEnum

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import Outcomes


class Reading(StrEnum):
    """A way to read labels."""

    KNOWN = "known"
    """All payments whose label is known, blocked frauds among them."""
    UNBLOCKED = "unblocked"
    """Those of them that went through."""
    CENSORED_CLEAN = "censored_clean"
    """All payments, the censored ones as clean."""
    CENSORED_FRAUD = "censored_fraud"
    """All payments, the censored ones as fraud."""

    def labels(self, outcomes: Outcomes) -> Float32Array:
        """Return the labels of all rows; NaN for those that this reading leaves out."""
        labels = outcomes.labels
        if self is Reading.KNOWN:
            return labels
        if self is Reading.UNBLOCKED:
            return np.where(outcomes.is_blocked, np.float32(np.nan), labels)
        guess = np.float32(self is Reading.CENSORED_FRAUD)
        return np.where(outcomes.is_censored, guess, labels)


def check_outcomes(outcomes: Outcomes, *, most_value: int) -> None:
    """Check a bank's outcomes: all that can be wrong with them, before another bank waits for it.

    Parameters
    ----------
    outcomes : Outcomes
    most_value : int
        Largest sum of amounts.

    Raises
    ------
    DataError
        If a blocked payment is labelled clean (nobody knows that), a label is no label, or the
        amounts are negative or too many to be summed.
    """
    labels = outcomes.labels
    wrong = ~((labels == 0) | (labels == 1) | np.isnan(labels))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"judged row {row + 1}: label is {labels[row]}, expected 0, 1 or none")
    clean_blocked: BoolArray = outcomes.is_blocked & (labels == 0)
    if clean_blocked.any():
        row = int(np.argmax(clean_blocked))
        raise DataError(
            f"judged row {row + 1}: is blocked and labelled clean, expected no label: nobody knows "
            "what would have become of it"
        )
    if outcomes.amounts is not None and outcomes.amounts.size:
        if outcomes.amounts.min() < 0:
            row = int(np.argmin(outcomes.amounts))
            raise DataError(
                f"judged row {row + 1}: amount is {outcomes.amounts[row]}, expected 0 or more"
            )
        # In Python integers: the sum may leave int64.
        total = sum(outcomes.amounts[labels != 0].tolist())
        if total > most_value:
            raise DataError(
                f"judged rows: the amounts of frauds and blocked payments add up to {total}, "
                f"expected at most {most_value}; give amounts in minor units of the run's currency"
            )
