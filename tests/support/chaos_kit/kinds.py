"""What may happen to a federation, and what each kind needs."""

from enum import StrEnum

from proxies.fault_plan import FaultKind


class ChaosKind(StrEnum):
    """One way in which a run is disturbed."""

    BANK_KILL = "bank killed (kill -9)"
    BANK_KILL_UNACKNOWLEDGED = "bank killed between accept and acknowledge"
    ALL_BANKS_KILL = "all banks killed at once"
    AGGREGATOR_KILL = "aggregator's main process killed (kill -9)"
    AGGREGATOR_WORKER_KILL = "aggregator's worker process killed (kill -9)"
    AGGREGATOR_KILL_UNACKNOWLEDGED = "aggregator killed between accept and acknowledge"
    AGGREGATOR_RESTART = "aggregator restarted (SIGTERM)"
    POSTGRESQL_RESTART = "PostgreSQL restarted at once (immediate)"
    CUT_REQUEST = FaultKind.CUT_REQUEST.value
    CUT_ANSWER = FaultKind.CUT_ANSWER.value
    LOSE_ANSWER = FaultKind.LOSE_ANSWER.value
    DELAY = FaultKind.DELAY.value
    DUPLICATE = FaultKind.DUPLICATE.value
    DUPLICATE_LATER = FaultKind.DUPLICATE_LATER.value
    REORDER = FaultKind.REORDER.value
    ANSWER_502 = FaultKind.ANSWER_502.value
    ANSWER_503 = FaultKind.ANSWER_503.value
    AGGREGATOR_DISK_FULL = "aggregator's disk full for a while"
    BANK_DISK_FULL = "bank's disk full for a while"
    BANK_CLOCK = "bank's clock jumps within what signatures allow"
    AGGREGATOR_CLOCK = "aggregator's clock jumps within what signatures allow"
    BANK_CLOCK_FAR = "bank's clock jumps by an hour and back"
    AGGREGATOR_CLOCK_FAR = "aggregator's clock jumps by an hour and back"
    DROPPED_BY_DEADLINE = "bank away until the deadline drops it, and back"
    FROZEN_PAST_DEADLINE = "bank frozen until the deadline drops it, and back"
    DROPPED_BY_OPERATOR = "bank dropped by the operator, and back"
    DROPPED_FOR_GOOD = "bank away until the end"


#: Those that a proxy does.
NETWORK = {ChaosKind(kind.value): kind for kind in FaultKind}

#: Those that fill a file system of their own, which only root can make.
NEEDS_ROOT = frozenset({ChaosKind.AGGREGATOR_DISK_FULL, ChaosKind.BANK_DISK_FULL})

#: Those for a run whose aggregator keeps all in PostgreSQL.
NEEDS_POSTGRESQL = frozenset({ChaosKind.POSTGRESQL_RESTART})

#: Those for a run whose aggregator keeps all in its own directory.
NEEDS_SQLITE = frozenset({ChaosKind.AGGREGATOR_DISK_FULL})

#: Those after which other banks take part, so that the model is another one.
CHANGES_BANKS = frozenset(
    {
        ChaosKind.DROPPED_BY_DEADLINE,
        ChaosKind.FROZEN_PAST_DEADLINE,
        ChaosKind.DROPPED_BY_OPERATOR,
        ChaosKind.DROPPED_FOR_GOOD,
    }
)
