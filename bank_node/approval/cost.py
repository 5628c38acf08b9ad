"""What a run takes at most, from its description alone: an estimate for people, and no promise."""

import math
from collections.abc import Sequence
from typing import Final

from bank_node.approval.facts import CostEstimate
from bank_node.approval.judging import JUDGING_ROUNDS, is_judged, judging_values
from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS
from fraudfed.boosting.score_cells import N_COARSE_CELLS
from fraudfed.dtypes import FIXED_POINT_ONE
from fraudfed.evaluation.drift.watch import Watch
from fraudfed.features.shared_risk.noise import FRACTION_BITS, RiskNoise
from fraudfed.parameters import MOST_BANKS, BoosterParams
from fraudfed.search.lockstep import MOST_VALUES
from fraudfed.secure_sum.header import HEADER_BITS
from fraudfed.statistics.counts import N_COARSE, N_PARTS
from fraudfed.statistics.layout import Layout
from fraudfed.wire.messages import DataContract, FeatureType, RiskSpec, SearchSpec

#: Rows of all banks together that the estimate of a training holds for.
ASSUMED_ROWS: Final = 1 << 24
_COUNT_BITS: Final = ASSUMED_ROWS.bit_length()
#: Payments of all banks on one day that the estimate of a risk run holds for.
ASSUMED_DAILY_PAYMENTS: Final = 1 << 24
#: Nodes whose children share one sum (``fraudfed.boosting.growth.grower``).
_NODES_PER_SUM = 256
#: How often the banks of a split are counted, at most (``fraudfed.boosting.growth.presence``).
_TRIES = 3
#: Passes of the search for cuts, from 8 to 20 bits in steps of 4 (``fraudfed.boosting.cuts``).
_CUT_PASSES = 4
_FIRST_PASS_BUCKETS = 256
_NEW_PARTS = 15
#: Sums of logloss, error and weight, and the ranks behind auc and aucpr, stay below this.
_METRIC_VALUES = 1 << 14
#: Above this every depth counts the same: there are not as many rows.
_DEEPEST = ASSUMED_ROWS.bit_length()
#: Of the 256 that the numbers of a statistics run are counted in first.
_FILLED_CELLS = 32
#: Standard deviations of the noise that a slot has room for: sqrt(2 ln 2 * 101), and a little.
_NOISE_REACH = 13


def training_cost(contract: DataContract, params: BoosterParams, *, key_bits: int) -> CostEstimate:
    """Estimate the most that one bank sends in a training.

    Parameters
    ----------
    contract : DataContract
    params : BoosterParams
    key_bits : int
        Of the Paillier key.
    """
    rounds, ciphertexts = _preparation(contract, params, key_bits=key_bits)
    sums, nodes = _sums_of_a_tree(params)
    trees = params.num_boost_round
    counts, counted = _counts_of_a_tree(params, key_bits=key_bits)
    rounds += trees * (sums + counts)
    # A node's sums fill whole ciphertexts only together with those of its round.
    values, bits = _node_sums(contract, params)
    ciphertexts += trees * (_ciphertexts(values * nodes, bits, key_bits=key_bits) + sums + counted)
    selects = params.early_stopping_rounds is not None
    if selects:
        rounds += trees
        ciphertexts += trees * _ciphertexts(_METRIC_VALUES, _COUNT_BITS, key_bits=key_bits)
    if is_judged(contract, selects=selects):
        rounds += JUDGING_ROUNDS
        ciphertexts += _judging(contract, key_bits=key_bits)
    return _cost(rounds, ciphertexts, key_bits=key_bits, rows=ASSUMED_ROWS)


def search_cost(
    contract: DataContract,
    spec: SearchSpec,
    candidates: Sequence[BoosterParams],
    *,
    key_bits: int,
) -> CostEstimate:
    """Estimate the most that one bank sends in a search.

    Candidates grow together: what one of them sums, the others add to the same round. Which of them
    stay alive is not known before, so the costliest are counted.

    Parameters
    ----------
    contract : DataContract
    spec : SearchSpec
    candidates : sequence of BoosterParams
        As ``check_candidates``.
    key_bits : int
        Of the Paillier key.
    """
    rounds, ciphertexts = _preparation(contract, candidates[0], key_bits=key_bits)
    by_tree, longest = [], 0
    for params in candidates:
        values, bits = _node_sums(contract, params)
        sums, nodes = _sums_of_a_tree(params)
        counts, counted = _counts_of_a_tree(params, key_bits=key_bits)
        cost = _ciphertexts(values * nodes, bits, key_bits=key_bits) + sums + counted
        by_tree.append((cost, values * nodes))
        longest = max(longest, sums + counts)
    by_tree.sort(reverse=True)
    compared = _ciphertexts(2 * N_COARSE_CELLS + 2, _COUNT_BITS, key_bits=key_bits)
    before = 0
    for rung in spec.rungs:
        trees, alive = rung.trees - before, by_tree[: rung.alive]
        before = rung.trees
        # What is more than a sum may hold goes into others; the last measure is one of its own.
        more = sum(values for _, values in alive) // MOST_VALUES
        rounds += trees * (longest + more) + 1
        ciphertexts += trees * sum(cost + compared for cost, _ in alive)
    rounds += JUDGING_ROUNDS
    ciphertexts += _judging(contract, key_bits=key_bits)
    return _cost(rounds, ciphertexts, key_bits=key_bits, rows=ASSUMED_ROWS)


def _judging(contract: DataContract, *, key_bits: int) -> int:
    """Return the ciphertexts of the sums that judge the model."""
    return 2 + _ciphertexts(judging_values(contract), _COUNT_BITS, key_bits=key_bits)


def _preparation(
    contract: DataContract, params: BoosterParams, *, key_bits: int
) -> tuple[int, int]:
    """Return rounds and ciphertexts before the first tree: counts, base score and cuts."""
    numeric = sum(spec.type is FeatureType.NUMERIC for spec in contract.features)
    rounds, ciphertexts = 2, 2
    if numeric:
        rounds += _CUT_PASSES
        passes = [numeric * _FIRST_PASS_BUCKETS]
        passes += [numeric * params.max_bin * _NEW_PARTS] * (_CUT_PASSES - 1)
        ciphertexts += sum(_ciphertexts(n, _COUNT_BITS, key_bits=key_bits) for n in passes)
    return rounds, ciphertexts


def _node_sums(contract: DataContract, params: BoosterParams) -> tuple[int, int]:
    """Return how many sums a node has, and the bits of each of them."""
    numeric = sum(spec.type is FeatureType.NUMERIC for spec in contract.features)
    bins = numeric * params.max_bin + sum(len(spec.categories or ()) for spec in contract.features)
    weight = contract.max_weight * max(1.0, params.scale_pos_weight)
    # Of a signed sum of gradients; a hessian needs two bits and the sign less.
    largest = max(ASSUMED_ROWS * weight * FIXED_POINT_ONE, 1.0)
    return 2 * bins, math.ceil(math.log2(largest)) + 1


def risk_cost(spec: RiskSpec, *, key_bits: int) -> CostEstimate:
    """Estimate the most that one bank sends in a risk run."""
    days = spec.last_day - spec.first_day + 1
    steps = -(-days // spec.days_per_step)
    bits = ASSUMED_DAILY_PAYMENTS.bit_length()
    if spec.privacy is not None:
        # One release a step, of wider slots: fractional bits, the declared bound, and the noise.
        noise = RiskNoise.of(spec)
        reach = _NOISE_REACH * math.isqrt(max(noise.payments, noise.frauds))
        bits = ((spec.privacy.most_a_day << FRACTION_BITS) + 2 * reach).bit_length()
        counters = days * spec.n_rows * (spec.transaction_width + spec.fraud_width)
        ciphertexts = _ciphertexts(counters, bits, key_bits=key_bits) + steps
        return _cost(steps, ciphertexts, key_bits=key_bits, rows=ASSUMED_DAILY_PAYMENTS)
    # Frauds and corrections have sketches of one width.
    counters = days * spec.depth * (spec.transaction_width + 2 * spec.fraud_width)
    ciphertexts = _ciphertexts(counters, bits, key_bits=key_bits) + steps
    ciphertexts += _ciphertexts(3 * days, 40, key_bits=key_bits) + steps
    return _cost(2 * steps, ciphertexts, key_bits=key_bits, rows=ASSUMED_DAILY_PAYMENTS)


def statistics_cost(layout: Layout, *, key_bits: int) -> CostEstimate:
    """Estimate the most that one bank sends in a statistics run."""
    bits = ASSUMED_ROWS.bit_length()
    numeric = sum(column.cells is None for column in layout.columns)
    cells = sum(len(column.cells or ()) for column in layout.columns) + numeric * N_COARSE
    marks = len(layout.entities) * layout.width
    # Numbers of one sign and of a few powers of ten fill about so many coarse cells.
    parts = numeric * _FILLED_CELLS * N_PARTS
    ciphertexts = 1 + _ciphertexts(len(layout.columns) + 9, 41, key_bits=key_bits)
    ciphertexts += _ciphertexts(2 * cells + parts, bits, key_bits=key_bits) + 2
    ciphertexts += _ciphertexts(marks, layout.n_banks.bit_length(), key_bits=key_bits)
    return _cost(3, ciphertexts, key_bits=key_bits, rows=ASSUMED_ROWS)


def monitor_cost(watch: Watch, *, key_bits: int) -> CostEstimate:
    """Estimate the most that one bank sends in a monitor run."""
    payments = watch.totals.counts[..., 0].size + watch.traffic.counts[..., 0].size
    counts = sum(metric.counts.size for metric in watch.metrics) - payments
    ciphertexts = 2 + _ciphertexts(payments, MAX_POOLED_ROWS.bit_length(), key_bits=key_bits)
    ciphertexts += _ciphertexts(counts, _COUNT_BITS, key_bits=key_bits)
    return _cost(2, ciphertexts, key_bits=key_bits, rows=ASSUMED_ROWS)


def _sums_of_a_tree(params: BoosterParams) -> tuple[int, int]:
    """Return the secure sums of one tree and the nodes that they hold, at most.

    The root, and of each pair of children one: the other is what the parent leaves. Leaves at the
    greatest depth need no histogram.
    """
    depth = min(params.max_depth or _DEEPEST, _DEEPEST)
    splits = 2**depth - 1
    if params.max_leaves:
        splits = min(splits, params.max_leaves - 1)
    splits = max(splits, 1)
    # Splits of each level, if whole levels are split.
    by_level, left = [], splits
    for level in range(depth):
        by_level.append(min(2**level, left))
        left -= by_level[-1]
    if params.grow_policy == "lossguide" or not params.max_depth:
        sums, pairs = 1 + splits, splits
    else:
        pairs = sum(by_level[:-1])
        sums = 1 + sum(-(-n // _NODES_PER_SUM) for n in by_level[:-1])
        # A narrow tree has as many levels as a full one.
        sums = max(sums, min(depth, splits))
    # A sibling with other columns does not follow from its parent.
    has_siblings = params.colsample_bylevel * params.colsample_bynode < 1.0
    return sums, 1 + pairs * (2 if has_siblings else 1)


def _counts_of_a_tree(params: BoosterParams, *, key_bits: int) -> tuple[int, int]:
    """Return the sums of one tree that count banks, at most, and their ciphertexts."""
    if params.min_child_banks == 0:
        return 0, 0
    sums, _ = _sums_of_a_tree(params)
    # Both sides of both children of all nodes that share a sum.
    each = _ciphertexts(4 * _NODES_PER_SUM, MOST_BANKS.bit_length(), key_bits=key_bits)
    return _TRIES * sums, _TRIES * sums * each


def _ciphertexts(values: int, bits: int, *, key_bits: int) -> int:
    # As ``SlotLayout``: the header, one bit to spare, and slots that do not straddle plaintexts.
    slots = max((key_bits - 3 - HEADER_BITS) // bits, 1)
    return -(-values // slots)


def _cost(rounds: int, ciphertexts: int, *, key_bits: int, rows: int) -> CostEstimate:
    # A ciphertext is a residue modulo N^2; what is opened of it is shared out among the banks, and
    # fits into half of that for any number of them.
    return CostEstimate(
        rounds=rounds,
        ciphertexts=ciphertexts,
        bytes=ciphertexts * (key_bits // 4 + key_bits // 8),
        assumed_rows=rows,
    )
