"""How long to keep trying when the aggregator does not answer: backoff with full jitter.

The delays are drawn uniformly from [0, min(cap, base * 2^attempt)] ("full jitter", M. Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that banks that lost the same
aggregator do not come back all at once.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: A person waits at the terminal.
ONE_SHOT_PATIENCE_SECONDS = 10.0
#: Long enough for an aggregator to be restarted under a run.
TRAINING_PATIENCE_SECONDS = 120.0
#: Less would give up on an aggregator that is only busy, more would let one answer use up a run's
#: patience.
_LEAST_ANSWER_SECONDS = 15.0
_MOST_ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """Total patience and the growth of the delays, in seconds."""

    patience_seconds: float = ONE_SHOT_PATIENCE_SECONDS
    base_seconds: float = 0.1
    cap_seconds: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    @property
    def answer_seconds(self) -> float:
        """How long one answer of ordinary size may take in all, beside a long poll's time."""
        return min(_MOST_ANSWER_SECONDS, max(_LEAST_ANSWER_SECONDS, self.patience_seconds))

    def start(self) -> "Retry":
        """Begin counting for one request."""
        return Retry(self, self.clock())


@dataclass
class Retry:
    """Attempts of one request so far."""

    policy: RetryPolicy
    started: float
    attempts: int = 0
    # Jitter decides only when a request is sent, never what: no seed is needed.
    _random: random.Random = field(default_factory=random.SystemRandom)

    def again(self, *, at_least_seconds: float = 0.0) -> bool:
        """Sleep and return True, or return False when the patience is used up."""
        policy = self.policy
        limit = min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(self.attempts, 64))
        delay = max(at_least_seconds, self._random.uniform(0.0, limit))
        self.attempts += 1
        if self.elapsed_seconds + delay > policy.patience_seconds:
            return False
        policy.sleep(delay)
        return True

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the first attempt."""
        return self.policy.clock() - self.started
