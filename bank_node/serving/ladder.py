"""How well a payment can be scored at present: the steps that a deadline and old tables leave.

::

    full             the champion, with all features
    no-state         the store did not answer in time, or has not lately: features of the past are
                     missing
    no-shared-risk   risk tables are too old, or have a gap: the second model, which needs none
    fallback         no model: the policy's table by channel and amount

A step is a fact of the answer. What is missing is missing (NaN), never zero.
"""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bank_node.serving.bundle import Bundle
from bank_node.serving.scorer import RowScore, Scorer
from bank_node.serving.store.arrival import StoreTerms
from bank_node.serving.store.protocol import Arrival, FeatureStore
from fraudfed.dtypes import Float32Array
from fraudfed.errors import UnavailableError
from fraudfed.features.payment import Payment

_log = logging.getLogger(__name__)

#: Requests that may wait for the store at once; others do without it.
_MOST_WAITING = 8
#: Part of the deadline that is left for scoring when the store is given up.
_SHARE_OF_STORE = 0.6
#: A store that was away is asked so often whether it is back, by one payment.
_ASK_AGAIN_SECONDS = 0.5
#: Features that follow from the payment alone.
_STATELESS = frozenset(
    {"amount", "amount_zeros", "hour_of_day", "is_night", "is_weekend"}
    | {"channel", "merchant_category"}
)


class Step(StrEnum):
    """Step of the ladder, best first."""

    FULL = "full"
    NO_STATE = "no-state"
    NO_SHARED_RISK = "no-shared-risk"
    FALLBACK = "fallback"


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found out about a payment.

    Attributes
    ----------
    step : Step
    has_state : bool
        Whether the store answered.
    risk_age_days : int or None
        By how much the tables end too early; None without tables.
    scorer : Scorer or None
        Which model scored; None at ``fallback``.
    scored : RowScore or None
    row : ndarray of shape (n_features of the scorer,), dtype=float32, or None
    full_row : ndarray of shape (len(bundle.names),), dtype=float32, or None
    """

    step: Step
    has_state: bool
    risk_age_days: int | None
    scorer: Scorer | None = None
    scored: RowScore | None = None
    row: Float32Array | None = None
    full_row: Float32Array | None = None


class _Reach:
    """Whether the store answers: of one that is away, not every payment waits for a timeout."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ask_again: float | None = None

    def may_ask(self) -> bool:
        """Tell whether to ask; of a store that is away, only to one caller in a while."""
        with self._lock:
            if self._ask_again is None:
                return True
            now = time.monotonic()
            if now < self._ask_again:
                return False
            self._ask_again = now + _ASK_AGAIN_SECONDS
            return True

    def answered(self) -> None:
        """Note that it answers."""
        with self._lock:
            was_away, self._ask_again = self._ask_again is not None, None
        if was_away:
            _log.warning("the feature store answers again")

    def did_not_answer(self, error: UnavailableError) -> None:
        """Note that it does not."""
        with self._lock:
            was_away = self._ask_again is not None
            self._ask_again = time.monotonic() + _ASK_AGAIN_SECONDS
        if not was_away:
            _log.warning("the feature store does not answer: %s", error)


class Ladder:
    """Scores payments as well as is possible in time. Safe to use from many threads.

    Parameters
    ----------
    store : FeatureStore
        Opened without risk tables.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(_MOST_WAITING, thread_name_prefix="store")
        self._places = threading.BoundedSemaphore(_MOST_WAITING)
        self._reach = _Reach()

    def close(self) -> None:
        """Wait for nothing more of the store."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def observe(self, payment: Payment) -> Arrival:
        """Remember a payment so that the end of this process loses nothing of it.

        Raises
        ------
        ConflictError
            If its identifier was observed with other content.
        UnavailableError
            If the store does not take it; at once if it has not answered lately.
        """
        if not self._reach.may_ask():
            raise UnavailableError(
                "the feature store has not answered lately, so that the payment is not "
                "remembered; send it again later"
            )
        arrival = self._store.observe(payment)
        self._store.commit()
        self._reach.answered()
        return arrival

    def judge(
        self, payment: Payment, bundle: Bundle, *, seconds: float, contributions: bool
    ) -> Judged:
        """Score a payment.

        Parameters
        ----------
        payment : Payment
        bundle : Bundle
        seconds : float
            Until the answer is due.
        contributions : bool
            Whether the answer needs reasons.

        Raises
        ------
        DataError
            If the recipe cannot score such a payment.
        """
        due = time.monotonic() + seconds
        state = self._state(payment, seconds * _SHARE_OF_STORE)
        has_state = state is not None
        if state is None:
            state = stateless_row(payment, bundle)
        age = None if bundle.tables is None else bundle.tables.age_days(payment.event_time)
        step = Step.FULL if has_state else Step.NO_STATE
        scorer: Scorer | None = bundle.champion
        if bundle.tables is not None and (
            (age or 0) > bundle.max_risk_age_days or bundle.tables.has_gaps(payment.event_time)
        ):
            step, scorer = Step.NO_SHARED_RISK, bundle.second
        fallback = Judged(Step.FALLBACK, has_state, age)
        if scorer is None or time.monotonic() >= due:
            return fallback
        try:
            full_row = bundle.full_row(payment, state)
            row = bundle.row_for(scorer, full_row)
            scored = scorer.row(row, contributions=contributions)
        except Exception:
            # A payment waits for an answer; whatever a model raises, the policy has one.
            _log.exception("a payment could not be scored; the policy's fallback decides")
            return fallback
        return Judged(step, has_state, age, scorer, scored, row, full_row)

    def _state(self, payment: Payment, seconds: float) -> Float32Array | None:
        """Return the row of the store; None if it does not answer in time."""
        if seconds <= 0:
            return None
        # To change threads takes longer than to build a row of what is in memory.
        if (row := self._store.features_at_once(payment)) is not None:
            return row
        if not self._reach.may_ask():
            return None
        if not self._places.acquire(blocking=False):
            return None
        future: Future[Float32Array] = self._pool.submit(self._ask, payment)
        # One that hangs keeps its place, so that no more than so many threads hang.
        future.add_done_callback(lambda _: self._places.release())
        try:
            return future.result(timeout=seconds)
        except FutureTimeoutError:
            return None
        except UnavailableError:
            return None

    def _ask(self, payment: Payment) -> Float32Array:
        try:
            row = self._store.features(payment)
        except UnavailableError as error:
            self._reach.did_not_answer(error)
            raise
        self._reach.answered()
        return row


def stateless_row(payment: Payment, bundle: Bundle) -> Float32Array:
    """Return the features of the store that follow from a payment alone; the others are missing.

    Returns
    -------
    ndarray of shape (len(bundle.state_names),), dtype=float32

    Raises
    ------
    DataError
        As ``FeatureStore.features``.
    """
    row = StoreTerms.of(bundle.contract).builder().row(payment).copy()
    own = {spec.name for spec in bundle.contract.own_columns}
    unknown = [name not in _STATELESS and name not in own for name in bundle.state_names]
    row[np.array(unknown)] = np.nan
    return row
