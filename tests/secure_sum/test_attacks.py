"""Everything an aggregator can do to a round gives an error that names the kind, at every bank."""

import secrets

import numpy as np
import pytest
from attack_kit.ciphertexts import COUNT_ONE, added, exchanged, scaled
from cohorts.secure import SummingCohort, SummingRound, agree_in_pairs, multiply

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import CiphertextError, SumError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.masks.self_masks import commitment_to

N_BANKS = 4
BOUND = 2**20
SIZE = 68  # of 17 slots of 22 bits in 382 bits: four plaintexts, one for each bank


def parts() -> list[Int64Array]:
    return [np.arange(SIZE) * (bank - 1) + bank for bank in range(N_BANKS)]


@pytest.fixture
def cohort(package: KeyPackage) -> SummingCohort:
    return SummingCohort(package, N_BANKS)


@pytest.fixture
def earlier(cohort: SummingCohort) -> SummingRound:
    done = cohort.round(parts(), BOUND)
    cohort.advance(done, done.finish(done.product))
    return done


@pytest.fixture
def one_round(cohort: SummingCohort, earlier: SummingRound) -> SummingRound:
    return cohort.round([part + 1 for part in parts()], BOUND, round_number=1)


def check_refused_everywhere(
    one_round: SummingRound, product: CiphertextVector, *faults: SumFault
) -> None:
    """Every bank opens its shard, which is noise to it, and refuses the sum for the same reason.

    One of these reasons, in the same words.
    """
    boxes = one_round.open(product)
    texts = set()
    for bank in range(N_BANKS):
        with pytest.raises(SumError, match="|".join(one.value for one in faults)) as caught:
            one_round.combine(boxes, bank=bank)
        texts.add(str(caught.value))
    assert len(texts) == 1


@pytest.mark.parametrize("victim", range(N_BANKS))
def test_missing_contribution(one_round: SummingRound, victim: int) -> None:
    product = multiply([p for bank, p in enumerate(one_round.payloads) if bank != victim])
    check_refused_everywhere(one_round, product, SumFault.MASKS)


@pytest.mark.parametrize("victim", range(N_BANKS))
def test_contribution_counted_twice(one_round: SummingRound, victim: int) -> None:
    product = one_round.product.product(one_round.payloads[victim])
    check_refused_everywhere(one_round, product, SumFault.MASKS)


@pytest.mark.parametrize("factor", [2, 3, 16, -1])
def test_scaled_sum(one_round: SummingRound, factor: int) -> None:
    # Pairwise masks cancel in every multiple of the sum; self masks are taken off once.
    check_refused_everywhere(one_round, scaled(one_round.product, factor), SumFault.MASKS)


@pytest.mark.parametrize("factor", [0, 2, 3, 200, -1, 2**40])
def test_scaled_sum_with_the_count_patched(one_round: SummingRound, factor: int) -> None:
    patch = [(1 - factor) * N_BANKS * COUNT_ONE] * N_BANKS
    product = added(scaled(one_round.product, factor), patch)
    check_refused_everywhere(one_round, product, SumFault.MASKS)


def test_scaled_contribution(one_round: SummingRound) -> None:
    payloads = [scaled(one_round.payloads[0], 2), *one_round.payloads[1:]]
    check_refused_everywhere(one_round, multiply(payloads), SumFault.MASKS)


def test_sum_of_two_rounds(one_round: SummingRound, earlier: SummingRound) -> None:
    product = one_round.product.product(earlier.product)
    check_refused_everywhere(one_round, product, SumFault.MASKS)


@pytest.mark.parametrize(
    ("amount", "fault"),
    [
        (1 << 120, SumFault.TAG),
        (-1 << 120, SumFault.TAG),
        (7 << 480, SumFault.TAG),
        (1 << 509, SumFault.TAG),
        (1, SumFault.TAG),
        (1 << 88, SumFault.TAG),
        (COUNT_ONE, SumFault.COUNT),
        (-COUNT_ONE, SumFault.COUNT),
        ((1 << 61) - 1 << 120, SumFault.TAG),
    ],
)
def test_known_number_added(one_round: SummingRound, amount: int, fault: SumFault) -> None:
    check_refused_everywhere(one_round, added(one_round.product, [amount] * N_BANKS), fault)


def test_all_ciphertexts_replaced_by_known_ones(one_round: SummingRound) -> None:
    key = one_round.banks[0].public_key
    ones = CiphertextVector.of_integers(key, [1] * N_BANKS)
    product = added(ones, [N_BANKS * COUNT_ONE] * N_BANKS)
    check_refused_everywhere(one_round, product, SumFault.MASKS)


def test_one_altered_ciphertext_is_found_by_all(one_round: SummingRound) -> None:
    product = added(one_round.product, [0, 1 << 140, 0, 0])
    boxes = one_round.open(product)
    for bank in range(N_BANKS):
        with pytest.raises(SumError, match=f"{SumFault.TAG.value}: plaintext 1 of 4"):
            one_round.combine(boxes, bank=bank)


def test_ciphertexts_of_the_sum_exchanged(one_round: SummingRound) -> None:
    product = exchanged(exchanged(one_round.product, 0, 1), 2, 3)
    check_refused_everywhere(one_round, product, SumFault.MASKS)


def test_ciphertexts_of_a_contribution_exchanged(one_round: SummingRound) -> None:
    payloads = list(one_round.payloads)
    payloads[2] = exchanged(exchanged(payloads[2], 0, 1), 2, 3)
    check_refused_everywhere(one_round, multiply(payloads), SumFault.MASKS)


def test_shards_exchanged(one_round: SummingRound) -> None:
    product = exchanged(one_round.product, 0, 1)
    check_refused_everywhere(one_round, product, SumFault.MASKS)


def check_no_sum(split: SummingRound, *others: int) -> None:
    """Assert that nobody opens what the ``others`` open, which are in another context."""
    boxes = split.open(split.product)
    for bank in range(N_BANKS):
        with pytest.raises(SumError, match=SumFault.BOX):
            split.combine(boxes, bank=bank)
    # Even if they all passed the boxes on under one context, the masks would not cancel.
    split.contexts = [split.contexts[0]] * N_BANKS
    for bank in others:
        committed = commitment_to(split.sealed[bank].seed, split.contexts[0], bank=f"bank{bank}")
        split.commitments[bank] = committed
    check_refused_everywhere(split, split.product, SumFault.MASKS)


def test_one_bank_with_another_beginning(package: KeyPackage) -> None:
    cohort = SummingCohort(package, N_BANKS)
    cohort.transcripts[1] = cohort.banks[1].begin_transcript(b"other parameters")
    check_no_sum(cohort.round(parts(), BOUND), 1)


def test_wrong_pairwise_secret_at_one_bank(package: KeyPackage) -> None:
    agreed = agree_in_pairs([f"bank{i}" for i in range(N_BANKS)])
    agreed["bank1"]["bank3"] = secrets.token_bytes(32)
    one = SummingCohort(package, N_BANKS, agreed=agreed).round(parts(), BOUND)
    # What is left of masks that do not cancel is random, and once in a while looks like a count.
    check_refused_everywhere(one, one.product, SumFault.MASKS, SumFault.COUNT)


def test_contribution_under_another_paillier_key(
    one_round: SummingRound, other_package: KeyPackage
) -> None:
    key = one_round.banks[0].public_key
    stranger = SummingCohort(other_package, 1).round([parts()[0]], BOUND).payloads[0]
    # Relabelled as ciphertexts of the consortium's key.
    smuggled = CiphertextVector.of_integers(key, [v % key.n_squared for v in stranger.integers()])
    product = multiply([smuggled, *one_round.payloads[1:]])
    check_refused_everywhere(one_round, product, SumFault.MASKS)


def test_damaged_ciphertext_gives_no_number(one_round: SummingRound) -> None:
    width = one_round.banks[0].public_key.ciphertext_bytes
    for position in (0, 1, width // 2, width - 1, width + 5, N_BANKS * width - 1):
        damaged = bytearray(one_round.product.data)
        damaged[position] ^= 1
        product = CiphertextVector(one_round.banks[0].public_key, bytes(damaged))
        with pytest.raises((SumError, CiphertextError)):
            one_round.finish(product)


def test_bound_broken_together(cohort: SummingCohort) -> None:
    # Each bank keeps to the bound; their sum, four times as large, does not.
    values = np.zeros(SIZE, dtype=np.int64)
    values[5] = BOUND
    one = cohort.round([values] * N_BANKS, BOUND)
    check_refused_everywhere(one, one.product, SumFault.TAG)


def test_bank_with_another_consortium_secret(
    package: KeyPackage, cohort: SummingCohort, one_round: SummingRound
) -> None:
    boxes = one_round.open(one_round.product)
    other = KeyPackage(package.private_key, secrets.token_bytes(32))
    stranger = SummingCohort(
        other, N_BANKS, agreed=cohort.agreed, identities=cohort.identities
    ).banks[0]
    with pytest.raises(SumError, match="another key package"):
        stranger.combine(
            boxes, one_round.layout, one_round.contexts[0], commitments=one_round.commitments
        )


def test_an_error_depends_on_no_digit(cohort: SummingCohort) -> None:
    """Whether an added number makes a digit overflow shows in no error: else it were an oracle."""
    texts = set()
    for number, value in enumerate((-BOUND // N_BANKS, 0, BOUND // N_BANKS)):
        one = cohort.round([np.full(SIZE, value)] * N_BANKS, BOUND, round_number=number)
        top = 120 + 16 * 22 + 20
        with pytest.raises(SumError) as caught:
            one.finish(added(one.product, [1 << top] * N_BANKS))
        texts.add(str(caught.value))
    assert len(texts) == 1
