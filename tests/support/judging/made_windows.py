"""Made judge windows."""

import numpy as np

from fraudfed.evaluation.outcomes import Outcomes

DAY = 86_400


def random_window(
    seed: int, *, n_clean: int = 60, n_cases: int = 8, n_days: int = 5, n_scorings: int = 2
) -> tuple[Outcomes, list[np.ndarray]]:
    """Return few payments with many tied scores, some of them censored."""
    rng = np.random.default_rng(seed)
    of_case = np.repeat(np.arange(n_cases), rng.integers(1, 4, n_cases))
    n_frauds = of_case.size
    day_of_case = rng.integers(n_days, size=n_cases)
    labels = np.zeros(n_clean + n_frauds, np.float32)
    labels[n_clean:] = 1
    labels[: n_clean // 10] = np.nan
    days = np.concatenate([rng.integers(n_days, size=n_clean), day_of_case[of_case]])
    outcomes = Outcomes(
        labels=labels,
        is_blocked=np.isnan(labels),
        event_time=(days * DAY + rng.integers(DAY, size=days.size)).astype(np.int64),
        amounts=rng.integers(1, 1000, days.size),
        customers=np.concatenate([np.full(n_clean, -1), of_case]),
    )
    scores = [
        (rng.integers(0, 12, labels.size) + 4 * (labels == 1)).astype(np.float32)
        for _ in range(n_scorings)
    ]
    return outcomes, scores


def found_cases(
    n_cases: int, *, only_shared: int, only_own: int, both: int | None = None
) -> tuple[Outcomes, np.ndarray, np.ndarray]:
    """Return a window in which each scoring finds exactly these cases at 2 alerts a case.

    Clean payments score between what is found and what is not, so no budget finds more.
    """
    both = (n_cases - only_shared - only_own) // 2 if both is None else both
    n_clean, n_days = 20 * n_cases, 10
    labels = np.concatenate([np.ones(n_cases), np.zeros(n_clean)]).astype(np.float32)
    case = np.arange(n_cases)
    by_shared = case < both + only_shared
    by_own = (case < both) | ((case >= both + only_shared) & (case < both + only_shared + only_own))
    scores = [
        np.concatenate([np.where(by, 9.0, -9.0), np.linspace(-1, 1, n_clean)]).astype(np.float32)
        for by in (by_shared, by_own)
    ]
    outcomes = Outcomes(
        labels=labels,
        is_blocked=np.zeros(labels.size, dtype=np.bool_),
        event_time=(np.arange(labels.size) % n_days * DAY).astype(np.int64),
        customers=np.concatenate([case, np.full(n_clean, -1)]),
    )
    return outcomes, scores[0], scores[1]
