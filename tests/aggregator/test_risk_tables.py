"""Which risk tables a training is given: held to a slow search over all of them."""

from itertools import pairwise
from typing import Any

import pytest
from examples.messages import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.operator.risk_tables import Wanted, latest_tables, named_tables
from fraudfed.catalogue.risk_days import needed_days
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    LabelHorizon,
    RiskEntity,
    RunSpec,
    RunState,
    RunStatus,
)

DAY = 86_400
BANKS = ("a", "b", "c")
EVERYTHING = tuple(RiskEntity)


def risk_run(
    number: int,
    first: int,
    last: int,
    *,
    delay: int = 7,
    entities: tuple[RiskEntity, ...] = EVERYTHING,
    **changes: Any,
) -> RunStatus:
    risk = {"first_day": first, "last_day": last, "delay_days": delay, "entities": entities}
    spec = RunSpec(name="r", key_epoch=1, kind="risk", risk=risk, model_visibility="members")
    fields = {
        "run_id": f"r{number}",
        "spec": spec,
        "state": RunState.FINISHED,
        "cohort": BANKS,
        "model_sha256": f"{number:064x}",
        "created_at": number,
        **changes,
    }
    return EXAMPLES[RunStatus].model_copy(update=fields)  # type: ignore[return-value]


def days(run: RunStatus) -> set[int]:
    assert run.spec.risk is not None
    return set(range(run.spec.risk.first_day, run.spec.risk.last_day + 1))


RUNS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.integers(0, 5),
        st.sampled_from([7, 7, 7, 8]),
        st.sampled_from([RunState.FINISHED] * 4 + [RunState.FAILED]),
        st.sampled_from([BANKS, BANKS, BANKS, ("a", "b")]),
        st.sampled_from([EVERYTHING, EVERYTHING, (RiskEntity.PAYEE,)]),
    ),
    max_size=8,
).map(
    lambda drawn: [
        risk_run(n, 100 + first, 100 + first + length, delay=delay, entities=what).model_copy(
            update={"state": state, "cohort": cohort}
        )
        for n, (first, length, delay, state, cohort, what) in enumerate(drawn)
    ]
)


@settings(max_examples=300)
@given(RUNS, st.none() | st.integers(98, 110), st.integers(100, 118))
def test_the_newest_tables_cover_every_day_and_none_is_idle(
    runs: list[RunStatus], first: int | None, last: int
) -> None:
    wanted = Wanted(delay_days=7, first_day=first, last_day=last, banks=BANKS)
    needed = range(0 if first is None else first, last + 1)
    usable = [
        run
        for run in runs
        if run.state is RunState.FINISHED
        and run.cohort == BANKS
        and run.spec.risk is not None
        and run.spec.risk.delay_days == 7
        and days(run) & set(needed)
    ]
    usable.sort(key=lambda run: (max(days(run)), min(days(run)), run.created_at))
    if usable:
        newest = usable[-1].spec.risk
        assert newest is not None
        usable = [run for run in usable if set(newest.entities) <= set(run.spec.risk.entities)]  # type: ignore[union-attr]
    covered = set().union(*map(days, usable)) & set(needed) if usable else set()
    if not covered or covered != set(range(min(covered), last + 1)):
        with pytest.raises(ConfigurationError, match="--shared-risk latest"):
            latest_tables(runs, wanted)
        return
    found = latest_tables(runs, wanted)
    assert set().union(*map(days, found.runs)) & set(needed) == covered
    order = [usable.index(run) for run in found.runs]
    assert all(one < other for one, other in pairwise(order))
    # None that newer ones replace as a whole is carried along.
    for index, run in enumerate(found.runs):
        later = set().union(*map(days, found.runs[index + 1 :]))
        assert (days(run) & set(needed)) - later
    assert set(found.entities) == set(newest.entities)
    assert found == named_tables(found.runs[::-1], wanted)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (risk_run(1, 90, 110, delay=30), "delay of 30 days, the training has a risk delay of 7"),
        (risk_run(1, 90, 110, state=RunState.TRAINING), "is training, not finished"),
        (risk_run(1, 90, 110, model_sha256=None), "not finished"),
        (risk_run(1, 90, 110, cohort=("a", "b", "d")), "was without c, which cannot read"),
        (risk_run(1, 50, 60), "1970-02-20 to 1970-03-02, none of which"),
        (risk_run(1, 111, 120), "none of which"),
        (risk_run(1, 95, 104), "6 days have no table, the first are 1970-04-16 to 1970-04-21"),
        (EXAMPLES[RunStatus], "is no risk run"),
    ],
)
def test_tables_of_no_use_are_refused_with_the_reason(run: RunStatus, message: str) -> None:
    wanted = Wanted(delay_days=7, first_day=70, last_day=110, banks=BANKS)
    with pytest.raises(ConfigurationError, match=message):
        named_tables([run], wanted)
    if run.spec.risk is not None:
        with pytest.raises(ConfigurationError, match=message):
            latest_tables([run], wanted)


def test_runs_that_count_nothing_in_common_are_refused() -> None:
    wanted = Wanted(delay_days=7, first_day=None, last_day=110, banks=BANKS)
    runs = [
        risk_run(1, 90, 100, entities=(RiskEntity.PAYEE,)),
        risk_run(2, 101, 110, entities=(RiskEntity.TERMINAL,)),
    ]
    with pytest.raises(ConfigurationError, match="nothing in common"):
        named_tables(runs, wanted)


@given(
    st.none() | st.integers(40 * DAY, 100 * DAY),
    st.integers(101 * DAY, 200 * DAY),
    st.none() | st.integers(240 * DAY, 300 * DAY),
    st.integers(0, 30),
    st.integers(0, 3),
    st.data(),
)
def test_the_days_are_those_that_payments_of_the_windows_look_back_to(
    start: int | None,
    until: int,
    judge: int | None,
    horizon: int,
    lag: int,
    data: st.DataObject,
) -> None:
    """A window of 30 days before the day of a payment, for the oldest and the newest payment."""
    if (start or 0) >= until - horizon * DAY:
        return
    contract = DataContract(
        kind="transactions",
        recipe="r-1",
        features=(FeatureSpec(name="amount"),),
        train_from=start,
        train_until=until,
        judge_until=judge,
        label_horizon_days=LabelHorizon(days=horizon, by_channel={"transfer": 395}),
        risk_publication_lag_days=lag,
    )
    first, last = needed_days(contract)
    end = (judge or until) - horizon * DAY
    payment = data.draw(st.integers(start or 0, end - 1))
    day = payment // DAY
    assert day - 1 - lag <= last
    assert first is None or first <= day - lag - 30
    assert (end - 1) // DAY - 1 - lag == last
