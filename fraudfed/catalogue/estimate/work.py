"""How many secure sums a run takes, and how much goes through them: expected, not at most.

The law behind the widths of slots: a sum of hessians in fixed point with 32 fractional bits needs
``32 + log2(sum)`` bits, and the bounds of a bin are within a factor of a few of its sum. The
constants are fitted to counted trainings; ``docs/performance.md`` says which.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fraudfed.catalogue.estimate.setting import Setting
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, RiskSpec

#: Bits of a plaintext that hold no slots: two signs and the header of a contribution (tag, count).
_HEADER_BITS = 3 + 120
#: Fractional bits of a sum (``fraudfed.dtypes``).
_FRACTION_BITS = 32
#: What bounds add to the bits of a bin's sum: known from the root before, and from counts only.
_LEARNT_BITS, _COUNTED_BITS = 2.2, 4.2
#: Part of the children that hold rows enough to be split, where no limit on leaves binds.
_SPLIT_SHARE = 0.85
#: How soon hessians that leave room for few leaves are felt; leaves of a start far from the mean.
_CROWDING, _FAR_LEAVES = 1.0, 0.13
#: Passes of the search for cuts, and the values of the later ones for each cut.
_CUT_PASSES, _FIRST_PASS, _LATER_PASS = 4, 256, 2.0
#: Slots of one evaluation of scores: cells of the histogram, by label.
_SCORE_CELLS = 2 * 4096
#: Values that features of a recipe have, as far as they are few; the first pattern that fits.
_FEW_VALUES = (
    ("is_*", 2),
    ("new_*", 2),
    ("*_fraud_count_*", 25),
    ("*_fraud_rate_*", 100),
    ("*_count_*", 80),
    ("*_customers_*", 80),
)


@dataclass(frozen=True)
class Work:
    """What one bank contributes.

    Attributes
    ----------
    rounds : float
    ciphertexts : float
    row_passes : float
        Rows of all banks times features times the passes over them.
    trees : float
        Of all candidates.
    """

    rounds: float
    ciphertexts: float
    row_passes: float
    trees: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.rounds + other.rounds,
            self.ciphertexts + other.ciphertexts,
            self.row_passes + other.row_passes,
            self.trees + other.trees,
        )


def bins_of(contract: DataContract, *, max_bin: int) -> int:
    """Return how many bins the features of a contract fill."""
    return sum(_bins(spec, contract.kind, max_bin) for spec in contract.features)


def preparation(contract: DataContract, params: BoosterParams, setting: Setting) -> Work:
    """Estimate counting the rows, the base score and the search for cuts."""
    numeric = sum(spec.type is FeatureType.NUMERIC for spec in contract.features)
    bins = bins_of(contract, max_bin=params.max_bin)
    bits = math.log2(setting.rows) + 1
    values = numeric * _FIRST_PASS + _LATER_PASS * bins * (_CUT_PASSES - 1)
    ciphertexts = _ciphertexts(values, bits, setting) + _CUT_PASSES + 2
    return Work(2 + _CUT_PASSES, ciphertexts, setting.rows * numeric * 3.0)


def trees(
    contract: DataContract, candidates: Sequence[tuple[BoosterParams, int]], setting: Setting
) -> Work:
    """Estimate trees that grow in lockstep; one candidate is a training.

    Parameters
    ----------
    contract : DataContract
    candidates : sequence of (BoosterParams, trees of it)
    setting : Setting
    """
    total = Work(0.0, 0.0, 0.0)
    counts = sorted({n for _, n in candidates})
    for low, high in zip([0, *counts[:-1]], counts, strict=True):
        alive = [params for params, n in candidates if n > low]
        levels: dict[int, float] = {}
        passes = 0.0
        for params in alive:
            for level, slots_bits in enumerate(_levels(contract, params, setting)):
                levels[level] = levels.get(level, 0.0) + slots_bits
            passes += _passes(contract, params, setting)
        of_tree = sum(max(bits / _capacity(setting), 1.0) for bits in levels.values())
        rounds = high - low
        total += Work(
            rounds * len(levels), rounds * of_tree, rounds * passes, float(rounds * len(alive))
        )
    return total


def scoring(times: float, setting: Setting, *, candidates: int = 1) -> Work:
    """Estimate sums of score histograms."""
    bits = math.log2(setting.rows) + 1
    values = _SCORE_CELLS * candidates
    return Work(times, times * _ciphertexts(values, bits, setting), 0.0)


def risk(spec: RiskSpec, setting: Setting) -> Work:
    """Estimate a risk run; ``setting.rows`` are the payments of a day."""
    days = spec.last_day - spec.first_day + 1
    steps = -(-days // spec.days_per_step)
    entries = setting.rows * len(spec.entities)
    payments = days * spec.depth * spec.transaction_width
    frauds = days * spec.depth * spec.fraud_width
    ciphertexts = _ciphertexts(payments, math.log2(entries) + 1, setting)
    of_frauds = max(math.log2(max(entries * setting.fraud_share, 1.0)) + 1, 1.0)
    ciphertexts += _ciphertexts(frauds, of_frauds, setting)
    ciphertexts += _ciphertexts(2 * days, 40, setting) + steps
    return Work(2.0 * steps, ciphertexts, 0.0)


def _levels(contract: DataContract, params: BoosterParams, setting: Setting) -> list[float]:
    """Return the bits of all slots of one tree's rounds: the root, then level by level."""
    bins = bins_of(contract, max_bin=params.max_bin) * params.colsample_bytree
    hessian = _hessian(params, setting)
    leaves = _leaves(params, setting)
    depth = min(params.max_depth or 12, 12)
    per_bin = hessian * len(contract.features) * params.colsample_bytree / max(bins, 1.0)
    learnt = _LEARNT_BITS if params.subsample >= 1.0 else _COUNTED_BITS
    found = [2 * bins * max(_FRACTION_BITS + math.log2(max(per_bin, 2.0**-3)) + learnt, 20.0)]
    nodes = 1.0
    for level in range(1, depth):
        # Of each pair of children the smaller one is summed.
        nodes = min(2.0 ** (level - 1), max(leaves - 1.0, 0.0) * 0.45)
        if leaves <= level:
            break
        in_child = max(per_bin / 2.0**level, 2.0**-3)
        bits = max(_FRACTION_BITS + math.log2(in_child) + _LEARNT_BITS, 20.0)
        share = _SPLIT_SHARE if level > 1 else 1.0
        both = 2.0 if params.colsample_bylevel * params.colsample_bynode < 1.0 else 1.0
        columns = params.colsample_bylevel * params.colsample_bynode
        found.append(2 * bins * nodes * share * bits * both * columns)
    return found


def _hessian(params: BoosterParams, setting: Setting) -> float:
    """Return the sum of hessians over the rows in the middle of a training."""
    share = setting.fraud_share
    # Scores spread out as trees grow, and so the sum shrinks.
    return 0.5 * setting.rows * params.subsample * share * (1.0 - share)


def _leaves(params: BoosterParams, setting: Setting) -> float:
    """Return the leaves of a tree: few if the shape or the hessians leave room for few."""
    most = float(2 ** min(params.max_depth or 12, 12))
    if params.max_leaves:
        most = min(most, float(params.max_leaves))
    room = _hessian(params, setting) / max(params.min_child_weight, 1e-3)
    leaves = most * room / (room + _CROWDING * most)
    start = params.base_score
    if start is not None and start * (1.0 - start) > 10 * setting.fraud_share:
        # Far from the mean all hessians are large, and the first trees have few leaves to find.
        leaves = max(min(leaves, _FAR_LEAVES * most * 2), _FAR_LEAVES * most)
    return max(leaves, 1.0)


def _passes(contract: DataContract, params: BoosterParams, setting: Setting) -> float:
    """Return rows times features of one tree's histograms: the root, and the smaller children."""
    depth = min(params.max_depth or 12, 12)
    features = len(contract.features) * params.colsample_bytree
    return setting.rows * params.subsample * features * (1.0 + 0.3 * (depth - 1))


def _bins(spec: FeatureSpec, kind: str, max_bin: int) -> int:
    if spec.categories is not None:
        return len(spec.categories)
    if kind == "transactions" and not spec.is_own:
        for pattern, values in _FEW_VALUES:
            if fnmatchcase(spec.name, pattern):
                return min(values, max_bin)
    return max_bin


def _capacity(setting: Setting) -> float:
    return float(setting.key_bits - _HEADER_BITS)


def _ciphertexts(values: float, bits: float, setting: Setting) -> float:
    return max(math.ceil(values * bits / _capacity(setting)), 1.0)
