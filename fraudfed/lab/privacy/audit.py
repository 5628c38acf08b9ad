"""``fraudfed privacy audit``: whether an opened sum hides a row as well as is claimed.

The attacker knows every row but one, which is in the sum or not, and all parts of the noise but
those of the banks that do not collude. What is left is the canary's change, or nothing, and noise:
the best test of one against the other is a threshold on the likelihood ratio (Neyman, Pearson,
1933), which for this noise is the projection on that change. Thresholds are fixed before any trial
by what is claimed, so nothing is chosen on what is seen.
"""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

import click
import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.errors import ParameterError
from fraudfed.lab.bench.options import FiniteRange, figures_of, number_option
from fraudfed.lab.privacy.lower_bounds import (
    broken_claim,
    epsilon_of_errors,
    epsilon_of_gaussian,
    upper_bound,
)
from fraudfed.privacy.accounting import epsilon_of, rho_of
from fraudfed.privacy.distance import rho_of_release
from fraudfed.privacy.noise.drawing import part_variance
from fraudfed.privacy.noise.keystream import KEY_BYTES
from fraudfed.privacy.noise.sampler import sample
from fraudfed.privacy.plan import PRIVATE_BITS, paired_variance
from fraudfed.privacy.releases import NoisedRelease

#: A row's gradient of full weight.
_UNIT = 1 << PRIVATE_BITS
#: Trials at a time: a few megabytes.
_BATCH = 2_000
#: A threshold halfway, and the one that should say most without assuming a Gaussian.
_THRESHOLDS = 2


@dataclass(frozen=True)
class Threshold:
    """What one threshold showed.

    Attributes
    ----------
    at : float
        In deviations of the noise, from where the canary is out.
    wrong_in, wrong_out : int
        Trials without the canary above it, and with the canary at or below it.
    epsilon_of_any, epsilon_of_gaussian : float
        Lower bounds, without and with the assumption that the noise is Gaussian.
    """

    at: float
    wrong_in: int
    wrong_out: int
    epsilon_of_any: float
    epsilon_of_gaussian: float


@dataclass(frozen=True)
class AuditFigures:
    """An audit of one opened sum.

    Attributes
    ----------
    epsilon, delta, rho : float
        What is claimed of the sum: ``epsilon_of`` its rho.
    mu : float
        Deviations of the noise by which the canary moves the sum.
    banks, tolerated_colluders, values : int
    trials : int
        With the canary, and as many without.
    confidence : float
        That no bound is wrong, over all thresholds and all ``tries``.
    tries : int
        Audits that this one is counted among.
    thresholds : tuple of Threshold
    lower_bound : float
        The largest of all.
    holds : bool
        Whether no bound is above the claim. If one is, that is a bug, of the noise or of the claim.
    """

    epsilon: float
    delta: float
    rho: float
    mu: float
    banks: int
    tolerated_colluders: int
    values: int
    trials: int
    confidence: float
    tries: int
    thresholds: tuple[Threshold, ...]
    lower_bound: float
    holds: bool

    def to_text(self) -> str:
        """Return a short report for the terminal."""
        lines = [
            f"claimed       epsilon {self.epsilon:.3f} at delta {self.delta:g}, rho {self.rho:.5f}",
            f"the sum       {self.values} values of {self.banks} banks, of which "
            f"{self.tolerated_colluders} collude; the canary moves it by {self.mu:.3f} sigma",
            f"trials        {self.trials} with and {self.trials} without the canary",
            "threshold   said in wrongly   said out wrongly   epsilon at least   if Gaussian",
        ]
        lines += [
            f"{each.at:9.3f}   {each.wrong_in:15}   {each.wrong_out:16}   "
            f"{each.epsilon_of_any:16.3f}   {each.epsilon_of_gaussian:11.3f}"
            for each in self.thresholds
        ]
        verdict = (
            f"no bound is above the claim; the largest is {self.lower_bound:.3f}"
            if self.holds
            else f"A BOUND IS ABOVE THE CLAIM: {self.lower_bound:.3f}. This is a bug; report it"
        )
        lines.append(f"{verdict} ({self.confidence:.1%} confidence, {self.tries} tries)")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class AuditedSum:
    """A sum of gradients and hessians by the bins of one feature, and a row that moves it most.

    Attributes
    ----------
    release : NoisedRelease
        Variances have the shape of ``change``.
    change : ndarray of shape (n_bins, 2), dtype=int64
        What the canary adds: a row of full weight whose gradient is 1 and whose hessian is 0.
    """

    release: NoisedRelease
    change: Int64Array

    @classmethod
    def of(cls, rho: Fraction, *, bins: int) -> "AuditedSum":
        """Return the sum whose noise costs at most ``rho``."""
        gradient = math.ceil(Fraction(_UNIT * _UNIT) / (2 * rho))
        change = np.zeros((bins, 2), dtype=np.int64)
        change[bins // 2, 0] = _UNIT
        return cls(
            NoisedRelease(
                variance=np.broadcast_to(paired_variance(gradient).reshape(2), change.shape),
                moved=Fraction(_UNIT * _UNIT, gradient),
            ),
            change,
        )


def run_audit(
    *,
    epsilon: float,
    delta: float,
    banks: int,
    tolerated_colluders: int,
    bins: int,
    trials: int,
    confidence: float = 0.999,
    tries: int = 1,
    new_key: Callable[[], bytes] = lambda: secrets.token_bytes(KEY_BYTES),
    insecure_noise_share: Fraction = Fraction(1),
) -> AuditFigures:
    """Open a sum with and without the canary, and bound epsilon from below.

    Parameters
    ----------
    epsilon, delta : float
        The sum's noise is the least that may claim them.
    banks, tolerated_colluders : int
    bins : int
    trials : int
    confidence : float
    tries : int
        Audits whose bounds are looked at together: each is held to a stricter confidence.
    new_key : callable
        Of noise.
    insecure_noise_share : Fraction
        Draw with this share of the variance, as a bank with a bug would; what is claimed stays.

    Raises
    ------
    ParameterError, BoundError
        If epsilon or delta cannot be claimed, or not by so many banks.
    """
    audited = AuditedSum.of(rho_of(epsilon, delta), bins=bins)
    release, honest = audited.release, banks - tolerated_colluders
    parts = part_variance(release.variance, n_banks=banks, tolerated_colluders=tolerated_colluders)
    rho = rho_of_release(
        release.moved, n_values=parts.size, part_variance=int(parts.min()), honest=honest
    )
    drawn = np.maximum(1, np.floor(parts * float(insecure_noise_share))).astype(np.int64)
    seen = {
        is_in: _projections(
            audited, drawn, banks=banks, honest=honest, trials=trials, is_in=is_in, new_key=new_key
        )
        for is_in in (False, True)
    }
    mu = math.sqrt(release.moved)
    # Two upper bounds for each threshold: all of them hold together.
    error = (1 - confidence) / (2 * _THRESHOLDS * tries)
    thresholds = tuple(
        _judge(at, seen, delta=delta, error=error)
        for at in (mu / 2, _sharpest(mu, trials=trials, delta=delta, error=error))
    )
    claimed = epsilon_of(rho, delta)
    largest = max(max(t.epsilon_of_any, t.epsilon_of_gaussian) for t in thresholds)
    return AuditFigures(
        epsilon=claimed,
        delta=delta,
        rho=float(rho),
        mu=mu,
        banks=banks,
        tolerated_colluders=tolerated_colluders,
        values=parts.size,
        trials=trials,
        confidence=confidence,
        tries=tries,
        thresholds=thresholds,
        lower_bound=largest,
        holds=largest <= claimed,
    )


def _projections(
    audited: AuditedSum,
    parts: Int64Array,
    *,
    banks: int,
    honest: int,
    trials: int,
    is_in: bool,
    new_key: Callable[[], bytes],
) -> Float64Array:
    """Return the attack's statistic of each trial: in deviations, 0 or mu on average."""
    variances = np.broadcast_to(audited.release.variance, audited.change.shape)
    direction = audited.change / variances / math.sqrt(audited.release.moved)
    found = np.empty(trials)
    # What all other rows add is known and cancels, whatever it is.
    others = np.arange(audited.change.size, dtype=np.int64).reshape(audited.change.shape) << 20
    for begin in range(0, trials, _BATCH):
        shape = (min(_BATCH, trials - begin), *audited.change.shape)
        noise = [sample(np.broadcast_to(parts, shape), new_key()) for _ in range(banks)]
        opened = others + sum(noise) + (audited.change if is_in else 0)
        left = opened - others - sum(noise[honest:])
        found[begin : begin + len(left)] = (left * direction).sum(axis=(1, 2))
    return found


def _judge(at: float, seen: dict[bool, Float64Array], *, delta: float, error: float) -> Threshold:
    wrong_in, wrong_out = int((seen[False] > at).sum()), int((seen[True] <= at).sum())
    a = upper_bound(wrong_in, len(seen[False]), error=error)
    b = upper_bound(wrong_out, len(seen[True]), error=error)
    return Threshold(
        at=at,
        wrong_in=wrong_in,
        wrong_out=wrong_out,
        epsilon_of_any=epsilon_of_errors(a, b, delta=delta),
        epsilon_of_gaussian=epsilon_of_gaussian(a, b, delta=delta),
    )


def _sharpest(mu: float, *, trials: int, delta: float, error: float) -> float:
    """Return the threshold whose bound without assumptions is the largest, by what is expected."""
    normal = NormalDist()

    def expected(at: float) -> float:
        a = upper_bound(round(trials * normal.cdf(-at)), trials, error=error)
        b = upper_bound(round(trials * normal.cdf(at - mu)), trials, error=error)
        return epsilon_of_errors(a, b, delta=delta)

    return max((step / 10 for step in range(50)), key=expected)


@click.command("audit")
@click.option(
    "--epsilon",
    type=FiniteRange(0.01, 64.0),
    default=3.0,
    show_default=True,
    help="That is claimed of one opened sum.",
)
@click.option(
    "--delta",
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    default=1e-6,
    show_default=True,
    help="That is claimed with it.",
)
@number_option("--banks", 3, "Banks whose noise the sum carries.", most=100)
@number_option("--colluders", 2, "Banks whose noise the attacker knows.", least=0, most=99)
@number_option("--bins", 32, "Bins of the feature whose sums are opened.", most=256)
@number_option("--trials", 10_000, "Sums with the canary, and as many without.", least=100)
@click.option(
    "--confidence",
    type=FiniteRange(0.5, 1.0, max_open=True),
    default=0.999,
    show_default=True,
    help="That no bound is wrong.",
)
@number_option("--tries", 1, "Audits that this one is counted among (Bonferroni).")
@figures_of(AuditFigures, fails=broken_claim)
def audit_command(
    epsilon: float,
    delta: float,
    banks: int,
    colluders: int,
    bins: int,
    trials: int,
    confidence: float,
    tries: int,
) -> AuditFigures:
    """Attack opened sums with a row in or out, and compare epsilon with what is claimed."""
    if colluders >= banks:
        raise ParameterError(
            f"{colluders} colluders among {banks} banks: expected at least one bank that is none"
        )
    return run_audit(
        epsilon=epsilon,
        delta=delta,
        banks=banks,
        tolerated_colluders=colluders,
        bins=bins,
        trials=trials,
        confidence=confidence,
        tries=tries,
    )
