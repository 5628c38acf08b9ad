"""Pooled monitoring: the same sums for every split over banks, and none but true ones pass."""

import numpy as np
import pytest
from cohorts.exact import run_cohort
from cohorts.recording import RecordingCommunicator
from examples.drifting import FEATURES, watched, world
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import StateError, SumError
from fraudfed.evaluation.drift.alarms import alarms_of
from fraudfed.evaluation.drift.pooled import PooledWatch, pool_watch
from fraudfed.evaluation.drift.rows import DAY, MonitoredRows, Weeks
from fraudfed.evaluation.drift.watch import Watch

ROWS, WEEKS = world(41, customers=60)


def counted(rows: MonitoredRows, weeks: Weeks = WEEKS) -> Watch:
    watch = Watch(weeks, FEATURES, slot_seconds=DAY)
    watch.update(rows)
    return watch


ALONE = pool_watch(counted(ROWS), SoloCommunicator()).to_bytes()


@pytest.mark.parametrize("n_banks", [1, 3, 7])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_same_bytes_however_rows_are_dealt(n_banks: int, seed: int) -> None:
    owner = np.random.default_rng(seed).integers(0, n_banks, len(ROWS))
    parts = [counted(ROWS.take(owner == bank)) for bank in range(n_banks)]
    found = run_cohort(n_banks, lambda bank, with_others: pool_watch(parts[bank], with_others))
    assert {each.to_bytes() for each in found} == {ALONE}


def test_two_sums_whatever_a_bank_holds() -> None:
    shapes = []
    for rows in (ROWS, ROWS.take(np.zeros(0, np.int64))):
        recorder = RecordingCommunicator()
        pool_watch(counted(rows), recorder)
        shapes.append(recorder.labels)
    assert shapes == [["monitor:payments", "monitor:counts"]] * 2


def test_alarms_of_days_are_those_of_hours_but_for_silence() -> None:
    daily = PooledWatch.from_bytes(ALONE, empty=Watch(WEEKS, FEATURES, slot_seconds=DAY)).watch
    assert alarms_of(daily) == alarms_of(watched(ROWS, WEEKS))


def test_only_canonical_bytes_of_true_counts_are_read() -> None:
    empty = Watch(WEEKS, FEATURES, slot_seconds=DAY)
    assert PooledWatch.from_bytes(ALONE, empty=empty).to_bytes() == ALONE
    untrue = counted(ROWS)
    untrue.frauds.counts = untrue.frauds.counts + 10**6
    wrong = [ALONE[:-1], b"{}", b"[]", ALONE.replace(b'"version":1', b'"version":2')]
    wrong.append(PooledWatch(untrue).to_bytes())
    for data in wrong:
        with pytest.raises(StateError, match="pooled monitoring counts"):
            PooledWatch.from_bytes(data, empty=Watch(WEEKS, FEATURES, slot_seconds=DAY))
    other = Watch(WEEKS, FEATURES[:-1], slot_seconds=DAY)
    with pytest.raises(StateError):
        PooledWatch.from_bytes(ALONE, empty=other)


class Untrue(SoloCommunicator):
    """Opens one count as more than its payments."""

    def __init__(self, place: float) -> None:
        self._place, self._round = place, 0

    def sum(
        self, values: Int64Array, *, bound: int | Int64Array, low: int, label: str
    ) -> Int64Array:
        pooled = super().sum(values, bound=bound, low=low, label=label).copy()
        if label == "monitor:counts":
            pooled[int(self._place * (pooled.size - 1))] += 10**6
        return pooled


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_opened_counts_that_are_none_of_payments_end_the_run(place: float) -> None:
    with pytest.raises(SumError, match="more than the whole"):
        pool_watch(counted(ROWS), Untrue(place))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), least=st.integers(2, 60))
def test_no_bank_fails_alone_for_what_it_rounds(seed: int, least: int) -> None:
    """A day's small counts are entered as 0, its week's are not: bounds must hold all the same."""
    owner = np.random.default_rng(seed).choice(3, len(ROWS), p=(0.9, 0.08, 0.02))
    parts = [counted(ROWS.take(owner == bank)) for bank in range(3)]
    for part in parts:
        for metric in part.metrics:
            rounded = (metric.counts + least // 2) // least * least
            metric.counts = np.where(metric.counts < least, 0, rounded)
    found = run_cohort(3, lambda bank, with_others: pool_watch(parts[bank], with_others))
    assert len({each.to_bytes() for each in found}) == 1
    PooledWatch.from_bytes(found[0].to_bytes(), empty=Watch(WEEKS, FEATURES, slot_seconds=DAY))
