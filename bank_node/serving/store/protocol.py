"""What a scoring service needs of the place that remembers payments.

Law: for payments and reports in the order in which they *arrive*, ``features`` gives, to the last
bit, the row of a batch over everything that had arrived by then.
"""

from enum import Enum
from typing import Protocol

from fraudfed.dtypes import Float32Array
from fraudfed.features.payment import Payment


class Arrival(Enum):
    """What became of a payment that was to be observed."""

    NEW = "new"
    LATE = "late"
    """Before the latest second, within the allowed lateness: inserted at its own second."""
    REPEATED = "repeated"
    """Its transaction id was observed with the same content: nothing changes."""
    TOO_LATE = "too-late"
    """Before all that the allowed lateness reaches: counted and logged, not inserted."""


class FeatureStore(Protocol):
    """Payments of the past, and the features that follow from them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the vectors."""
        ...

    def features(self, payment: Payment) -> Float32Array:
        """Return the features of a payment as of its second, of what has arrived by now.

        Parameters
        ----------
        payment : Payment

        Returns
        -------
        ndarray of shape (n_features,), dtype=float32
            NaN is missing.

        Raises
        ------
        DataError
            If the payment cannot be scored by the recipe.
        UnavailableError
            If the store does not answer.
        """
        ...

    def features_at_once(self, payment: Payment) -> Float32Array | None:
        """Return the features if that takes no waiting for a database or another caller.

        Returns
        -------
        ndarray of shape (n_features,), dtype=float32, or None
            None: ask ``features``.

        Raises
        ------
        DataError
            As ``features``.
        """
        ...

    def observe(self, payment: Payment) -> Arrival:
        """Remember a payment; it is in no feature of its own second or before.

        Raises
        ------
        ConflictError
            If its ``transaction_id`` was observed with other content.
        UnavailableError
            If the store does not answer.
        """
        ...

    def report(self, payment: Payment, *, report_time: int) -> bool:
        """Hear that a payment was a fraud; it counts after ``report_time``, UTC epoch seconds.

        Returns
        -------
        bool
            False if nothing changes: the report is known, or no window can hold it any more.
        """
        ...

    def commit(self) -> None:
        """Return when all that was observed and reported survives the end of this process."""
        ...

    def close(self) -> None:
        """Commit, and let go of files and connections."""
        ...
