"""``fraudfed privacy audit-training``: whether a whole training hides a row as well as it claims.

The attacker knows every row but one and sees all that is opened. What follows from what was opened
before is a computation that anybody can repeat, with the row and without. So the training that
took place is trained again on the other rows, with the opened sums in the place of its own: the two
sets of exact sums say how likely what was opened is either way. That ratio is the best test there
is (Neyman, Pearson, 1933); it is exact, for the normalisers of discrete Gaussians cancel.

The two sets show more than any number of trials: what is summed without noise must not differ at
all, and what is noised by no more than the plan says.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import click
import numpy as np

from fraudfed.boosting.private.train import train_private
from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import DrawNoise, NoisySoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.lab.bench.options import FiniteRange, figures_of, number_option
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.lab.privacy.lower_bounds import (
    broken_claim,
    epsilon_of_errors,
    epsilon_of_gaussian,
    upper_bound,
)
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.accounting import epsilon_of
from fraudfed.privacy.noise.drawing import draw
from fraudfed.privacy.plan import plan_of
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, TrainingWay

#: One threshold, two upper bounds.
_BOUNDS = 2
_SEED = 0


@dataclass(frozen=True, eq=False)
class OpenedSum:
    """One sum of a training as its own party knows it.

    Attributes
    ----------
    label : str
    values, opened : ndarray, dtype=int64
        Before and after noise.
    release : NoisedRelease or None
        None is a sum without noise.
    """

    label: str
    values: Int64Array
    opened: Int64Array
    release: NoisedRelease | None


class _WritingDown(NoisySoloCommunicator):
    """A cohort of one that keeps what it summed and opened."""

    def __init__(self, draw_noise: DrawNoise) -> None:
        super().__init__(draw_noise)
        self.sums: list[OpenedSum] = []

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        opened = super().sum(values, bound=bound, low=low, label=label)
        self.sums.append(OpenedSum(label, values.copy(), opened, None))
        return opened

    def noised_sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
        release: NoisedRelease,
    ) -> Int64Array:
        opened = super().noised_sum(values, bound=bound, low=low, label=label, release=release)
        self.sums.append(OpenedSum(label, values.copy(), opened.copy(), release))
        return opened


class _Repeating:
    """Answers a training with what another one opened, and keeps what it would have summed."""

    def __init__(self, opened: list[OpenedSum]) -> None:
        self._opened = iter(opened)
        self.pairs: list[tuple[OpenedSum, Int64Array]] = []

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        del bound, low, label
        theirs = next(self._opened)
        self.pairs.append((theirs, values.copy()))
        return theirs.opened.copy()

    def noised_sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
        release: NoisedRelease,
    ) -> Int64Array:
        del release
        return self.sum(values, bound=bound, low=low, label=label)


@dataclass(frozen=True)
class TrainingAuditFigures:
    """An audit of whole trainings.

    Attributes
    ----------
    way : TrainingWay
    rows, trees : int
    epsilon, delta : float
        What the plan's releases claim together.
    claimed_mu, largest_mu : float
        Square root of the sum of (change / sigma)^2 over all that is opened: what is claimed for
        any row, and the most that the canary reached in any trial.
    exact_leaks : tuple of str
        Labels of sums without noise that differed with the canary: each is a bug.
    trials, wrong_in, wrong_out : int
        Trainings with the canary, as many without; and those of each that the attack took for the
        other.
    confidence : float
    epsilon_of_any, epsilon_of_gaussian : float
        Lower bounds, without and with the assumption that noise is Gaussian.
    holds : bool
        Whether nothing of this contradicts the claim.
    """

    way: TrainingWay
    rows: int
    trees: int
    epsilon: float
    delta: float
    claimed_mu: float
    largest_mu: float
    exact_leaks: tuple[str, ...]
    trials: int
    wrong_in: int
    wrong_out: int
    confidence: float
    epsilon_of_any: float
    epsilon_of_gaussian: float
    holds: bool

    def to_text(self) -> str:
        """Return a short report for the terminal."""
        leaks = ", ".join(self.exact_leaks) or "none"
        verdict = "nothing contradicts the claim" if self.holds else "THE CLAIM IS BROKEN: a bug"
        return "\n".join(
            [
                f"claimed       epsilon {self.epsilon:.3f} at delta {self.delta:g} for "
                f"{self.trees} trees, way {self.way}, {self.rows} rows",
                f"moved         {self.largest_mu:.3f} sigma by the canary at most, "
                f"{self.claimed_mu:.3f} claimed for any row",
                f"without noise sums that differ with the canary: {leaks}",
                f"trials        {self.trials} with and {self.trials} without the canary; "
                f"{self.wrong_in} and {self.wrong_out} taken for the other",
                f"epsilon       at least {self.epsilon_of_any:.3f}; {self.epsilon_of_gaussian:.3f} "
                f"if Gaussian ({self.confidence:.1%} confidence)",
                verdict,
            ]
        )


def with_canary(table: TrainingTable, *, rows: int = 1) -> TrainingTable:
    """Return the table and one unit more: frauds whose values are like nobody else's.

    Parameters
    ----------
    table : TrainingTable
    rows : int
        Of the unit; all are one customer's, if the table knows customers.
    """
    row = table.features.max(axis=0, keepdims=True) * 4
    customers = table.customers
    if customers is not None:
        customers = np.append(customers, np.repeat(customers.max() + 1, rows))
    return replace(
        table,
        features=np.concatenate([table.features, np.repeat(row, rows, axis=0)]),
        labels=np.append(table.labels, np.ones(rows, dtype=np.float32)),
        customers=customers,
    )


def audit_training(
    params: BoosterParams,
    terms: PrivacyTerms,
    table: TrainingTable,
    *,
    trials: int,
    canary_rows: int = 1,
    confidence: float = 0.999,
    draw_noise: DrawNoise = draw,
) -> TrainingAuditFigures:
    """Train with the canary and without, and let the best attack tell them apart.

    Parameters
    ----------
    params, terms
        Of each training.
    table : TrainingTable
        Without the canary.
    trials : int
    canary_rows : int
        Rows of the canary; more than one if the unit is the customer.
    confidence : float
    draw_noise : callable
        Tests break it.

    Raises
    ------
    FraudFedError
        As ``train_private``.
    """
    tables = {False: table, True: with_canary(table, rows=canary_rows)}
    schema = table.schema
    plan = plan_of(
        terms, params, n_numeric=schema.n_categories.count(0), n_features=schema.n_features
    )
    moved = sum((2 * planned.rho for planned in plan), Fraction(0))
    wrong = {False: 0, True: 0}
    leaks: set[str] = set()
    largest = 0.0
    for is_in in (False, True):
        for _ in range(trials):
            pairs = _pairs(params, terms, tables[is_in], tables[not is_in], draw_noise)
            leaks |= {
                theirs.label
                for theirs, values in pairs
                if theirs.release is None and not np.array_equal(theirs.values, values)
            }
            evidence = list(_evidence(pairs))
            # For the rows of this training, against the other ones.
            ratio = math.fsum(each for each, _ in evidence)
            largest = max(largest, math.sqrt(math.fsum(squared for _, squared in evidence)))
            wrong[is_in] += ratio <= 0
    error = (1 - confidence) / _BOUNDS
    a, b = (upper_bound(wrong[is_in], trials, error=error) for is_in in (False, True))
    any_bound = epsilon_of_errors(a, b, delta=terms.delta)
    gaussian_bound = epsilon_of_gaussian(a, b, delta=terms.delta)
    claimed = epsilon_of(moved / 2, terms.delta)
    claimed_mu = math.sqrt(moved)
    return TrainingAuditFigures(
        way=terms.way,
        rows=table.n_rows,
        trees=params.num_boost_round,
        epsilon=claimed,
        delta=terms.delta,
        claimed_mu=claimed_mu,
        largest_mu=largest,
        exact_leaks=tuple(sorted(leaks)),
        trials=trials,
        wrong_in=wrong[False],
        wrong_out=wrong[True],
        confidence=confidence,
        epsilon_of_any=any_bound,
        epsilon_of_gaussian=gaussian_bound,
        holds=not leaks
        and largest <= claimed_mu * (1 + 1e-9)
        and max(any_bound, gaussian_bound) <= claimed,
    )


def _pairs(
    params: BoosterParams,
    terms: PrivacyTerms,
    rows: TrainingTable,
    others: TrainingTable,
    draw_noise: DrawNoise,
) -> list[tuple[OpenedSum, Int64Array]]:
    """Return each sum of a training, and what it would have been on the other rows."""
    took_place = _WritingDown(draw_noise)
    train_private(params, terms, rows, took_place, threads=1)
    repeated = _Repeating(took_place.sums)
    train_private(params, terms, others, repeated, threads=1)
    return repeated.pairs


def _evidence(pairs: list[tuple[OpenedSum, Int64Array]]) -> Iterator[tuple[float, float]]:
    """Yield each sum's logarithm of the ratio of probabilities, and its (change / sigma)^2."""
    for theirs, other in pairs:
        if theirs.release is None:
            continue
        variance = np.broadcast_to(theirs.release.variance, theirs.values.shape).astype(np.float64)
        change = (theirs.values - other).astype(np.float64)
        noise = (theirs.opened - theirs.values).astype(np.float64)
        # ((opened - other)^2 - (opened - values)^2) / 2 sigma^2
        yield (
            float((change * (change + 2 * noise) / (2 * variance)).sum()),
            float((change * change / variance).sum()),
        )


@click.command("audit-training")
@click.option(
    "--way",
    type=click.Choice([way.value for way in TrainingWay]),
    default=TrainingWay.CYCLIC.value,
    show_default=True,
    help="How the budget becomes trees.",
)
@click.option(
    "--epsilon",
    type=FiniteRange(0.01, 60.0),
    default=3.0,
    show_default=True,
    help="That is claimed of the whole training.",
)
@click.option(
    "--delta",
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    default=1e-6,
    show_default=True,
    help="That is claimed with it.",
)
@number_option("--rows", 300, "Rows beside the canary.", least=50, most=100_000)
@number_option("--features", 4, "Features of a row.", most=100)
@number_option("--trees", 12, "Trees of the model.", most=1000)
@number_option("--trials", 200, "Trainings with the canary, and as many without.", least=10)
@figures_of(TrainingAuditFigures, fails=broken_claim)
def audit_training_command(
    way: str, epsilon: float, delta: float, rows: int, features: int, trees: int, trials: int
) -> TrainingAuditFigures:
    """Attack whole trainings with a row in or out, by all that they open."""
    terms = PrivacyTerms(
        epsilon=epsilon,
        delta=delta,
        way=TrainingWay(way),
        features_per_tree=min(4, features),
        tolerated_colluders=1,
        declared_rows=2 * rows,
    )
    params = BoosterParams(
        num_boost_round=trees, max_depth=2, max_bin=16, min_child_weight=0, max_delta_step=1
    )
    table = synthetic_table(rows, features, np.random.default_rng(_SEED), prevalence=0.1)
    return audit_training(params, terms, table, trials=trials)
