"""What the members of a monitor run read of one bank's payments."""

import numpy as np
from cohorts.exact import run_cohort
from examples.drifting import FEATURES, world

from bank_node.jobs.monitor import entered_by
from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.drift.pooled import pool_watch
from fraudfed.evaluation.drift.rows import DAY, MonitoredRows
from fraudfed.evaluation.drift.watch import Watch

ROWS, WEEKS = world(51, customers=60)
OWNER = np.arange(len(ROWS)) % 3
FRAUDS = np.flatnonzero((ROWS.report_time >= 0) & (OWNER == 0))


def counted(rows: MonitoredRows, least: int) -> Watch:
    watch = Watch(WEEKS, FEATURES, slot_seconds=DAY)
    watch.update(rows)
    return entered_by(watch, least)


def read_of_one_bank(rows: MonitoredRows, *, least: int) -> list[Int64Array]:
    """Return what two banks that share all they know read of the third."""
    owner = OWNER if len(rows) == len(ROWS) else np.delete(OWNER, FRAUDS[0])
    parts = [counted(rows.take(owner == bank), least) for bank in range(3)]
    found = run_cohort(3, lambda bank, others: pool_watch(parts[bank], others))[1].watch
    return [
        whole.counts - parts[1].metrics[at].counts - parts[2].metrics[at].counts
        for at, whole in enumerate(found.metrics)
    ]


def without_a_fraud() -> MonitoredRows:
    keeps = np.ones(len(ROWS), dtype=np.bool_)
    keeps[FRAUDS[0]] = False
    return ROWS.take(keeps)


def test_no_small_count_of_a_bank_is_read_by_all_others_together() -> None:
    for counts in read_of_one_bank(ROWS, least=10):
        assert not ((counts > 0) & (counts < 10)).any()
        assert (counts % 10 == 0).all()


def test_one_fraud_of_a_rare_kind_changes_nothing_that_all_others_together_read() -> None:
    before, after = (read_of_one_bank(rows, least=10)[5] for rows in (ROWS, without_a_fraud()))
    assert (before == after).all()


def test_control_without_thresholds_a_single_fraud_is_read() -> None:
    before, after = (read_of_one_bank(rows, least=1)[5] for rows in (ROWS, without_a_fraud()))
    assert (before - after).any()
