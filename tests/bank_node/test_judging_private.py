"""Under privacy terms a model is judged by one noised release, and nothing else is summed."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bank_node.commands.training.run import _verdict_text
from bank_node.commands.training.verdict import noised_text, show_verdict
from bank_node.jobs.judging import Judging, Verdict
from bank_node.run.progress import RunProgress
from fraudfed.boosting.train import train
from fraudfed.communicator import NoisySoloCommunicator, SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import DataError
from fraudfed.intake.windows import windows_by_share
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.accounting import rho_of, usable_delta
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit
from fraudfed.wire.messages import DataContract, FeatureSpec

TABLE = synthetic_table(1500, 3, np.random.default_rng(0), prevalence=0.4)
WINDOWS = windows_by_share(TABLE, seed=0, select=True, judge=True)
CONTRACT = DataContract(features=(FeatureSpec(name="a"),), kind="table")
PARAMS = BoosterParams.parse({"num_boost_round": 3, "max_depth": 2, "max_bin": 8})
MODEL = train(PARAMS, WINDOWS.train, SoloCommunicator()).model
TERMS = PrivacyTerms(
    epsilon=10.0, tolerated_colluders=1, declared_rows=2000, metric_share=0.05, row_cap=16
)
PROGRESS = RunProgress(Console(), enabled=False)


def draw_noise(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    sigma = int(release.variance) ** 0.5
    return np.rint(np.random.default_rng(7).normal(0, sigma, shape)).astype(np.int64)


class Recording(NoisySoloCommunicator):
    """Notes what is opened, and how."""

    def __init__(self) -> None:
        super().__init__(draw_noise)
        self.exact: list[str] = []
        self.noised: list[tuple[str, NoisedRelease, Int64Array]] = []

    def sum(self, values: Int64Array, *, label: str, **given: Any) -> Int64Array:  # type: ignore[override]
        self.exact.append(label)
        return super().sum(values, label=label, **given)

    def noised_sum(  # type: ignore[override]
        self, values: Int64Array, *, label: str, release: NoisedRelease, **given: Any
    ) -> Int64Array:
        self.noised.append((label, release, values.copy()))
        return super().noised_sum(values, label=label, release=release, **given)


def judged(judging: Judging) -> tuple[Verdict, Recording]:
    recording = Recording()
    return judging.judge(MODEL, recording, PROGRESS, threads=1), recording


def test_one_noised_release_is_all_that_is_opened() -> None:
    verdict, seen = judged(Judging.of(WINDOWS, CONTRACT, terms=TERMS))
    assert seen.exact == []
    ((label, release, values),) = seen.noised
    assert label == "noised-scores"
    whole = rho_of(TERMS.epsilon, usable_delta(TERMS.epsilon, TERMS.delta))
    assert 0.999 * 0.05 * whole < release.moved / 2 <= Fraction(0.05) * whole
    assert WINDOWS.judge is not None
    # Every row is in one count, in units of 2^-16.
    assert int(values.sum()) == WINDOWS.judge.n_rows << 16
    assert verdict.report is None
    assert verdict.noised is not None
    assert verdict.noised.count_noise == pytest.approx(float(1 / release.moved) ** 0.5)
    assert verdict.window == "judge"
    assert Verdict.from_bytes(verdict.to_bytes()) == verdict


def test_control_without_terms_exact_counts_are_opened() -> None:
    verdict, seen = judged(Judging.of(WINDOWS, CONTRACT))
    assert seen.exact == ["judge:rows", "judge:scores", "judge:thresholds"]
    assert (seen.noised, verdict.noised) == ([], None)


def test_no_share_for_metrics_means_no_verdict() -> None:
    judging = Judging.of(WINDOWS, CONTRACT).under(replace(TERMS, metric_share=0.0))
    verdict, seen = judged(judging)
    assert (seen.exact, seen.noised) == ([], [])
    assert judging.without_rows == verdict
    assert (verdict.report, verdict.noised) == (None, None)
    assert "metric_share 0" in verdict.note


def test_customers_as_unit_need_customers() -> None:
    by_customer = replace(TERMS, unit=PrivacyUnit.CUSTOMER)
    with pytest.raises(DataError, match="name no customers"):
        Judging.of(WINDOWS, CONTRACT, terms=by_customer)
    assert WINDOWS.judge is not None
    outcomes = replace(
        WINDOWS.judge.outcomes, customers=np.zeros(WINDOWS.judge.n_rows, dtype=np.int64)
    )
    windows = replace(WINDOWS, judge=replace(WINDOWS.judge, outcomes=outcomes))
    verdict, seen = judged(Judging.of(windows, CONTRACT, terms=by_customer))
    # All rows are one customer's.
    assert int(seen.noised[0][2].sum()) == 16 << 16
    assert verdict.noised is not None
    assert verdict.noised.row_cap == 16


def test_people_are_told_that_it_is_noised(capsys: pytest.CaptureFixture[str]) -> None:
    verdict, _ = judged(
        Judging.of(WINDOWS, CONTRACT).under(replace(TERMS, epsilon=20.0, metric_share=0.5))
    )
    assert verdict.noised is not None
    assert verdict.noised.auprc is not None
    show_verdict(verdict)
    printed = " ".join(capsys.readouterr().out.split())
    assert "all banks' rows with noise, window judge" in printed
    assert "each of 64 counts is off by" in printed
    line = _verdict_text(json.loads(verdict.to_bytes()))
    assert line.startswith(f"AUPRC about {verdict.noised.auprc.estimate:.4f} on about")
    assert "too few" in noised_text(None)
    loud, _ = judged(Judging.of(WINDOWS, CONTRACT).under(replace(TERMS, epsilon=0.01)))
    assert "not known for the noise" in _verdict_text(json.loads(loud.to_bytes()))


def test_a_run_without_noise_to_add_is_a_fault() -> None:
    judging = Judging.of(WINDOWS, CONTRACT, terms=TERMS)
    with pytest.raises(TypeError, match="adds noise"):
        judging.judge(MODEL, SoloCommunicator(), PROGRESS, threads=1)
