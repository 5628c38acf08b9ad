"""What monitoring counts: rows enter and leave without a trace, in any order, in public cells."""

from dataclasses import replace

import numpy as np
import pytest
from examples.drifting import FEATURES
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.drift.cells import (
    N_NUMBER_CELLS,
    N_SCORE_CELLS,
    WatchedFeature,
    number_cells_of,
    score_cells_of,
    score_edge,
)
from fraudfed.evaluation.drift.metrics import (
    Absences,
    DriftMetric,
    Features,
    ReportedFrauds,
    Scores,
    Totals,
    Traffic,
)
from fraudfed.evaluation.drift.prediction import predict, two_sided
from fraudfed.evaluation.drift.rows import (
    DAY,
    HOUR,
    MONITORED_CHANNELS,
    MONITORED_KINDS,
    WEEK,
    MonitoredRows,
    Weeks,
)
from fraudfed.evaluation.drift.stability import stability
from fraudfed.evaluation.drift.watch import Watch

WEEKS = Weeks(1_704_067_200, 8, 6)


def made_rows(seed: int, n: int) -> MonitoredRows:
    """Return rows of every sort, some of them outside the weeks."""
    rng = np.random.default_rng(seed)
    features = rng.lognormal(3, 4, (n, len(FEATURES))).astype(np.float32)
    for at, feature in enumerate(FEATURES):
        if feature.categories is not None:
            features[:, at] = rng.integers(0, len(feature.categories), n)
    features[rng.random(features.shape) < 0.1] = np.nan
    time = rng.integers(WEEKS.start - DAY, WEEKS.stop + DAY, n)
    reported = time + rng.integers(0, 3 * WEEK, n)
    return MonitoredRows(
        event_time=time,
        channel=rng.integers(0, len(MONITORED_CHANNELS), n),
        margins=rng.normal(-3, 6, n).astype(np.float32),
        is_alert=rng.random(n) < 0.2,
        is_fallback=rng.random(n) < 0.1,
        features=features,
        is_unknown=np.isnan(features) & (rng.random(features.shape) < 0.5),
        report_time=np.where(rng.random(n) < 0.2, reported, -1),
        fraud_kind=rng.integers(0, len(MONITORED_KINDS), n),
    )


def metrics() -> list[DriftMetric]:
    return [
        Totals(WEEKS),
        Traffic(WEEKS, slot_seconds=HOUR),
        Absences(WEEKS, slot_seconds=DAY, n_features=len(FEATURES)),
        Scores(WEEKS, slot_seconds=DAY),
        Features(WEEKS, FEATURES),
        ReportedFrauds(WEEKS),
    ]


def test_the_law_below_is_of_every_metric() -> None:
    assert {type(each) for each in metrics()} == set(DriftMetric.__subclasses__())
    assert [type(each) for each in Watch(WEEKS, FEATURES).metrics] == [type(m) for m in metrics()]


@pytest.mark.parametrize("at", range(6), ids=[each.name for each in metrics()])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 60), m=st.integers(0, 60))
def test_rows_enter_and_leave_without_a_trace(at: int, seed: int, n: int, m: int) -> None:
    first, second = made_rows(seed, n), made_rows(seed + 1, m)
    metric = metrics()[at]
    metric.update(first)
    before = metric.counts.copy()
    metric.update(second)
    both = metric.counts.copy()
    assert (both == before + metric.count(second)).all()
    metric.revert(first)
    metric.update(first.take(np.random.default_rng(seed).permutation(n)))
    assert (metric.counts == both).all()
    metric.revert(second)
    assert (metric.counts == before).all()
    assert (metric.counts >= 0).all()


def test_rows_that_have_not_entered_cannot_leave_and_nothing_changes() -> None:
    watch = Watch(WEEKS, FEATURES, slot_seconds=DAY)
    watch.update(made_rows(1, 500))
    before = [metric.counts.copy() for metric in watch.metrics]
    with pytest.raises(ValueError, match="not entered"):
        watch.revert(made_rows(2, 50))
    for metric, counts in zip(watch.metrics, before, strict=True):
        assert (metric.counts == counts).all()


def test_a_late_label_falls_into_place() -> None:
    rows = made_rows(3, 400)
    late = replace(rows, report_time=np.where(rows.report_time > WEEKS.stop, -1, rows.report_time))
    known, learnt = Watch(WEEKS, FEATURES), Watch(WEEKS, FEATURES)
    known.update(rows)
    learnt.update(late)
    changed = rows.report_time != late.report_time
    assert changed.any()
    learnt.revert(late.take(changed))
    learnt.update(rows.take(changed))
    for one, other in zip(known.metrics, learnt.metrics, strict=True):
        assert (one.counts == other.counts).all()


def test_counts_are_those_of_a_loop() -> None:
    rows = made_rows(4, 300)
    watch = Watch(WEEKS, FEATURES)
    watch.update(rows)
    traffic = np.zeros_like(watch.traffic.counts)
    frauds = np.zeros_like(watch.frauds.counts)
    for at in range(len(rows)):
        time = int(rows.event_time[at])
        if not WEEKS.start <= time < WEEKS.stop:
            continue
        hour, week = (time - WEEKS.start) // HOUR, (time - WEEKS.start) // WEEK
        alert = bool(rows.is_alert[at])
        traffic[hour, rows.channel[at]] += [1, alert, bool(rows.is_fallback[at])]
        if rows.report_time[at] >= 0:
            cell = frauds[week, rows.fraud_kind[at]]
            cell[1] += [1, alert]
            if rows.report_time[at] < WEEKS.start + (week + 1) * WEEK:
                cell[0] += [1, alert]
    assert (watch.traffic.counts == traffic).all()
    assert (watch.frauds.counts == frauds).all()
    assert watch.by_week(watch.traffic.counts).sum() == traffic.sum()
    assert (watch.by_last_day(traffic)[0] == traffic[144:168].sum(axis=0)).all()
    payments = traffic[..., 0].sum()
    assert (watch.totals.counts[:, :-1] == watch.by_week(traffic)).all()
    assert (watch.totals.counts[:, -1] == watch.by_week(traffic).sum(axis=1)).all()
    assert watch.scores.counts.sum() == payments
    assert all(watch.by_feature.of(at).sum() == payments for at in range(len(FEATURES)))
    whole = Watch(WEEKS, FEATURES)
    whole.update(rows.take(~rows.is_fallback))
    missing = watch.absences.counts.sum(axis=(0, 1))
    # Of a fallback nothing counts as missing.
    assert (watch.absences.counts == whole.absences.counts).all()
    watch = whole
    for at in range(len(FEATURES)):
        assert watch.by_feature.of(at).sum(axis=0)[-2:].tolist() == missing[at].tolist()


def test_cells_ascend_and_hold_every_number() -> None:
    wide = np.array([-np.inf, -1e30, -3.0, -1e-9, 0.0, 1e-9, 0.016, 1.0, 1.5, 2.0, 1e30, np.inf])
    cells = number_cells_of(wide.astype(np.float32))
    assert (np.diff(cells) >= 0).all()
    assert (cells[0], cells[4], cells[-1]) == (0, N_NUMBER_CELLS // 2, N_NUMBER_CELLS - 1)
    assert len(set(cells[6:10].tolist())) == 4
    margins = np.linspace(-20, 20, 999).astype(np.float32)
    scores = score_cells_of(margins)
    assert (scores.min(), scores.max()) == (0, N_SCORE_CELLS - 1)
    inside = np.abs(margins) < 16
    edges = np.array([score_edge(int(cell)) for cell in scores])
    assert ((margins >= edges) & (margins < edges + 0.25))[inside].all()
    feature = WatchedFeature("x", ("a", "b"))
    values = np.array([0, 1, np.nan, np.nan], np.float32)
    unknown = np.array([False, False, False, True])
    assert feature.cells_of(values, unknown).tolist() == [0, 1, 2, 3]


def test_weeks_end_where_they_are_asked_to() -> None:
    until = WEEKS.stop
    weeks = Weeks.ending(until, reference_until=until - 10 * DAY, n_reference=6)
    assert (weeks.stop, weeks.n_weeks, weeks.reference_stop) == (until, 8, until - 2 * WEEK)
    assert Weeks.ending(until, reference_until=None, n_reference=6).n_weeks == 7
    with pytest.raises(ValueError, match="reaches into"):
        Weeks.ending(until, reference_until=until, n_reference=6)
    with pytest.raises(ValueError, match="expected at least 6"):
        Weeks(0, 7, 5)
    edge = np.array([WEEKS.start - 1, WEEKS.start, WEEKS.stop - 1, WEEKS.stop])
    assert WEEKS.slot_of(edge, WEEK).tolist() == [-1, 0, 7, -1]


@pytest.mark.parametrize("degrees", [1, 4, 11, 60])
def test_the_p_value_is_that_of_students_t(degrees: int) -> None:
    for t in (0.0, 1e-3, 0.7, -2.5, 8.0, 40.0, 1e4, 1e200):
        expected = 2 * stats.t.sf(abs(t), degrees)
        assert two_sided(t, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@settings(max_examples=20, deadline=None)
@given(
    weeks=st.lists(st.floats(-5, 5), min_size=6, max_size=20),
    found=st.floats(-9, 9),
    ahead=st.integers(1, 5),
)
def test_a_prediction_is_that_of_least_squares(
    weeks: list[float], found: float, ahead: int
) -> None:
    n = len(weeks)
    design = np.stack([np.ones(n), np.arange(n)], axis=1)
    slope = np.linalg.lstsq(design, np.array(weeks), rcond=None)[0]
    at = np.array([1.0, n - 1 + ahead])
    error = np.sqrt(((np.array(weeks) - design @ slope) ** 2).sum() / (n - 2))
    scale = np.sqrt(1 + at @ np.linalg.inv(design.T @ design) @ at)
    predicted = predict(weeks, found, least_sd=1e-3, ahead=ahead)
    assert predicted.expected == pytest.approx(at @ slope, abs=1e-9)
    t = (found - at @ slope) / (max(error, 1e-3) * scale)
    assert predicted.t == pytest.approx(t, rel=1e-6, abs=1e-6)


def test_psi_without_drift_is_what_chance_gives() -> None:
    """Yurdakul and Naranjo: PSI over ``1/n + 1/m`` is chi-squared with one degree fewer."""
    rng = np.random.default_rng(5)

    def drawn(n: int) -> Int64Array:
        return rng.multinomial(n, np.ones(16) / 16).astype(np.int64)

    found = [stability(drawn(20_000), drawn(2_000)) for _ in range(400)]
    scaled = np.array([each.psi / (1 / 20_000 + 1 / 2_000) for each in found if each])
    assert stats.kstest(scaled, "chi2", args=(15,)).pvalue > 0.01
    assert scaled.mean() == pytest.approx(15, rel=0.1)


def test_psi_is_the_textbooks_and_small_counts_are_put_together() -> None:
    before, after = np.array([4000, 3000, 3000]), np.array([2000, 3000, 5000])
    p, q = before / 10_000, after / 10_000
    found = stability(before, after)
    assert found is not None
    assert found.psi == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-3)
    rare = stability(
        np.array([1, 5000, 2, 5000, 0, 3]), np.array([0, 500, 1, 480, 1, 0]), n_apart=2
    )
    assert rare is not None
    assert rare.n_cells == 2
    apart = stability(np.array([5000, 5000, 0, 9]), np.array([500, 480, 200, 0]), n_apart=2)
    assert apart is not None
    assert (apart.n_cells, apart.excess > 0.25) == (3, True)
    assert stability(np.zeros(3, np.int64), after) is None
    assert stability(np.array([7, 0]), np.array([7, 0])).psi == 0.0  # type: ignore[union-attr]
