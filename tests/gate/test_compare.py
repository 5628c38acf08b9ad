"""Several models on one window."""

from dataclasses import replace

import numpy as np
import pytest
from judging.made_windows import found_cases

from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.readings import Reading
from fraudfed.gate.compare import Comparison, by_reading, compare
from fraudfed.gate.decision import Verdict, gate_of


def run(n_cases: int, gains: dict[str, tuple[int, int]], adapted: tuple[str, ...]) -> Comparison:
    scorings = {}
    for name, (more, less) in gains.items():
        outcomes, scorings[name], own = found_cases(
            n_cases, only_shared=more, only_own=less, both=n_cases // 2
        )
    return compare(
        {**scorings, "own": own},
        outcomes,
        own="own",
        adapted=adapted,
        generator=np.random.default_rng(1),
        alerts_per_day=n_cases / 10,
        n_resamples=2000,
    )


def test_a_model_is_judged_as_if_it_were_alone() -> None:
    outcomes, shared, own = found_cases(200, only_shared=20, only_own=8)
    options = {"alerts_per_day": 20.0, "n_resamples": 300}
    alone = gate_of(shared, own, outcomes, generator=np.random.default_rng(3), **options)
    among = compare(
        {"noise": -shared, "shared": shared, "own": own},
        outcomes,
        own="own",
        generator=np.random.default_rng(3),
        **options,
    )
    assert among.decisions["shared"] == alone
    assert set(among.decisions) == {"shared", "noise"}
    assert among.reached["own"].case_recall.estimate == pytest.approx((86 + 8) / 200)


def test_adapted_models_share_one_error() -> None:
    """What just passes alone does not pass among three; of those that pass the surest is named."""
    gains = {"slope": (9, 5), "blend": (30, 5), "continued": (28, 3), "shared": (9, 5)}
    adapted = ("slope", "blend", "continued")
    found = run(200, gains, adapted)
    lower = {name: each.difference.lower for name, each in found.decisions.items()}
    assert lower["slope"] < lower["shared"]
    assert found.decisions["slope"].confidence == pytest.approx(1 - 0.05 / 3)
    assert found.decisions["shared"].verdict is Verdict.ADOPT
    assert found.decisions["slope"].verdict is Verdict.UNDECIDED
    assert found.advised(adapted) in {"blend", "continued"}
    best = max(("blend", "continued"), key=lower.__getitem__)
    assert found.advised(adapted) == best
    assert found.advised(("slope",)) is None


def test_the_answer_can_hang_on_payments_that_nobody_knows() -> None:
    """The shared model alerts on what the bank blocked: right if that was fraud, else wasted."""
    outcomes, shared, own = found_cases(200, only_shared=20, only_own=4)
    blocked = np.flatnonzero(outcomes.labels == 0)[:150]
    labels = outcomes.labels.copy()
    labels[blocked] = np.nan
    scores = shared.copy()
    scores[blocked] = 10
    found = by_reading(
        scores,
        own,
        replace(outcomes, labels=labels, is_blocked=np.isnan(labels)),
        generator=np.random.default_rng(3),
        alerts_per_day=20,
        n_resamples=300,
    )
    assert set(found) == {Reading.UNBLOCKED, Reading.CENSORED_CLEAN, Reading.CENSORED_FRAUD}
    assert found[Reading.UNBLOCKED].verdict is Verdict.ADOPT
    assert found[Reading.CENSORED_FRAUD].verdict is Verdict.ADOPT
    assert found[Reading.CENSORED_CLEAN].verdict is Verdict.KEEP


def test_without_blocked_payments_there_is_one_reading() -> None:
    outcomes: Outcomes
    outcomes, shared, own = found_cases(60, only_shared=2, only_own=1)
    assert by_reading(shared, own, outcomes, generator=np.random.default_rng(3)) == {}
