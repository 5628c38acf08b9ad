"""What two runs, with and without one bank, say of it: all, a part, or noise."""

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.lab.attack.differencing.measure import difference_runs
from fraudfed.lab.attack.differencing.result import DifferencingFigures
from fraudfed.lab.attack.worlds import exact_trainer
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

WHOLE = {"num_boost_round": 1, "max_depth": 3, "min_child_weight": 1.0, "statistics_bits": 24}


def bank_of(seed: int, n_rows: int, prevalence: float) -> TrainingTable:
    return synthetic_table(
        n_rows, 4, np.random.default_rng(seed), prevalence=prevalence, missing=0.1, categorical=1
    )


def differenced(parameters: dict[str, float], *, sigma: float = 5.0) -> DifferencingFigures:
    params = BoosterParams.parse(parameters)
    banks = (bank_of(0, 400, 0.3), bank_of(1, 500, 0.1), bank_of(2, 300, 0.1))
    return difference_runs(
        banks,
        bank_of(3, 400, 0.2),
        exact_trainer(params, threads=1),
        params,
        left_out=0,
        sigma=sigma,
        generator=np.random.default_rng(4),
        world="of the test",
        seed=0,
    )


def test_control_two_opened_sums_give_the_whole_bank_away() -> None:
    errors = differenced(WHOLE).errors
    assert errors.sums == 0.0
    assert errors.exact == 1.0


def test_control_two_models_of_all_rows_give_its_rows_and_frauds_away() -> None:
    rows, frauds = differenced(WHOLE).totals
    assert (rows.true, frauds.true) == (400.0, 120.0)
    assert (rows.attack, frauds.attack) == (rows.true, frauds.true)
    assert abs(frauds.guess - frauds.true) > 20
    assert abs(frauds.elsewhere - frauds.true) > 20


def test_two_models_do_not_give_its_cells_away() -> None:
    found = differenced(WHOLE)
    assert found.errors.models > 1.0


def test_noised_sums_differ_by_the_noise_of_both() -> None:
    """About the square root of 2: the mean of some forty squares, six standard errors."""
    found = differenced(WHOLE, sigma=50.0)
    half = 6.0 * np.sqrt(2.0 / found.errors.cells)
    assert abs(found.noised_over_sigma**2 / 2.0 - 1.0) < half
    assert found.errors.noised > found.errors.guess


def test_a_model_of_drawn_rows_gives_less_away() -> None:
    whole = differenced(WHOLE).totals[1]
    drawn = differenced({**WHOLE, "subsample": 0.5}).totals[1]
    assert abs(whole.attack - whole.true) <= abs(drawn.attack - drawn.true)


def test_figures_are_printed() -> None:
    text = differenced(WHOLE).to_text()
    assert "100.0% exact" in text
    assert "| frauds | 120 | 120 |" in text
