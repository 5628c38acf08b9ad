"""Refusals in the audit log, bounded so that no caller can fill the disk with them.

Anybody that reaches the port can be refused any number of times, and every entry costs a kilobyte
and a sync to disk. So each known caller has an allowance of its own, and all unknown callers share
one: ``BURST`` entries at once and ``PER_MINUTE`` after that. What goes beyond it is counted, and
the count becomes an entry as soon as there is an allowance again. Accepted changes are never
left out, and no caller's refusals use up another one's allowance.

An entry is below 2 kB whatever was sent (texts are cut off), so that unknown callers add less than
6 MB a day at most, and so does each known one.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from aggregator.audit.log import AuditRecord, AuditTrail
from fraudfed.http.server.rates import TokenBucket
from fraudfed.wire.messages import AuditStatus

#: Entries of one caller at once: a person's mistakes, or one failing run, are all recorded.
BURST = 200
#: Entries of one caller per minute once the burst is used up.
PER_MINUTE = 2.0


@dataclass
class _Allowance:
    bucket: TokenBucket
    suppressed: int = 0


class Refusals:
    """Records what was refused, within each caller's allowance. Safe to use from many threads."""

    def __init__(
        self,
        trail: AuditTrail,
        *,
        burst: int = BURST,
        per_minute: float = PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trail = trail
        self._burst = burst
        self._per_second = per_minute / 60
        self._clock = clock
        self._lock = threading.Lock()
        # One for each member and token and one for all others: their number is bounded.
        self._allowances: dict[str, _Allowance] = {}

    def record(self, record: AuditRecord) -> None:
        """Record a refusal, or count it if its actor's allowance is used up."""
        with self._lock:
            suppressed = self._take(record.actor)
        if suppressed is None:
            return
        if suppressed:
            self._trail.record(_left_out(record.actor, suppressed), record)
        else:
            self._trail.record(record)

    def flush(self) -> None:
        """Record what was only counted so far; for the end of the service."""
        with self._lock:
            pending = [
                _left_out(actor, allowance.suppressed)
                for actor, allowance in sorted(self._allowances.items())
                if allowance.suppressed
            ]
            for allowance in self._allowances.values():
                allowance.suppressed = 0
        if pending:
            self._trail.record(*pending)

    def _take(self, actor: str) -> int | None:
        """Return how many refusals were left out before this one, None to leave it out as well."""
        now = self._clock()
        found = self._allowances.get(actor)
        if found is None:
            bucket = TokenBucket(burst=self._burst, per_second=self._per_second, now=now)
            found = self._allowances[actor] = _Allowance(bucket)
        if found.bucket.take(now) > 0:
            found.suppressed += 1
            return None
        suppressed, found.suppressed = found.suppressed, 0
        return suppressed


def _left_out(actor: str, count: int) -> AuditRecord:
    return AuditRecord(
        kind="refusals-left-out",
        actor=actor,
        subject="service",
        detail=f"{count} more refusals of this caller were counted, but not recorded one by one",
        status=AuditStatus.REFUSED,
    )
