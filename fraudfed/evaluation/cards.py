"""Card precision at k per day: how many of the k most suspicious cards of a day are compromised.

Y.-A. Le Borgne, W. Siblini, B. Lebichot, G. Bontempi, "Reproducible Machine Learning for Credit
Card Fraud Detection - Practical Handbook", 2022, chapter 4, "Precision top-k metrics": a card
counts with its most suspicious payment of the day, and one that a list has found is blocked, so it
is on no list of a later day.
"""

import numpy as np

from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.evaluation.outcomes import Outcomes

_SECONDS_A_DAY = 86_400


def card_hits(
    margins: Float32Array, labels: Float32Array, outcomes: Outcomes, *, k: int
) -> tuple[int, int, int]:
    """Count what a bank's lists of k cards a day find.

    Parameters
    ----------
    margins, labels : ndarray of shape (n_rows,), dtype=float32
        Rows without a label, card, customer or time are left out.
    outcomes : Outcomes
    k : int
        Length of a list, at least 1.

    Returns
    -------
    n_days : int
        Days with a payment.
    hits : int
        Compromised cards on the lists of all days. Of cards that score alike, the compromised one
        stands last.
    attainable : int
        The most that lists could have had on them, each with what the earlier ones left.
    """
    if outcomes.event_time is None:
        return 0, 0, 0
    codes = _card_codes(outcomes)
    held = np.flatnonzero((codes >= 0) & ~np.isnan(labels))
    if not held.size:
        return 0, 0, 0
    days = outcomes.event_time[held] // _SECONDS_A_DAY
    # One entry for each card and day, with its highest margin.
    order = np.lexsort((margins[held], codes[held], days))
    day, card, margin = days[order], codes[held][order], margins[held][order]
    is_last = np.append((day[1:] != day[:-1]) | (card[1:] != card[:-1]), True)
    starts = np.append(0, np.flatnonzero(is_last)[:-1] + 1)
    fraud = np.logical_or.reduceat(labels[held][order] == 1, starts)
    day, card, margin = day[is_last], card[is_last], margin[is_last]
    found: set[int] = set()
    hits = attainable = 0
    firsts = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    for first, last in zip(firsts, [*firsts[1:], day.size], strict=True):
        left = np.array([int(code) not in found for code in card[first:last]], dtype=np.bool_)
        cards = card[first:last][left]
        is_fraud, score = fraud[first:last][left], margin[first:last][left]
        listed = np.lexsort((cards, is_fraud, -score))[:k]
        hit = cards[listed][is_fraud[listed]]
        found.update(hit.tolist())
        hits += hit.size
        attainable += min(k, int(np.count_nonzero(is_fraud)))
    return int(firsts.size), int(hits), attainable


def _card_codes(outcomes: Outcomes) -> Int64Array:
    """Return a code for the card of each payment, the customer where there is none; -1: neither."""
    customers = outcomes.customers
    if outcomes.cards is None:
        return np.full(outcomes.n_rows, -1, dtype=np.int64) if customers is None else customers
    if customers is None or not customers.size:
        return outcomes.cards
    codes: Int64Array = np.where(
        outcomes.cards >= 0,
        outcomes.cards + int(customers.max()) + 1,
        customers,
    )
    return codes
