"""What holders of the Paillier key see of another bank's contribution: uniform numbers modulo N.

Chance decides these tests with probability below 1e-9 each: the masks are the operating system's.
"""

import numpy as np
import pytest
from attack_kit.sums_without import without_masks
from cohorts.secure import SummingCohort, SummingRound
from scipy.stats import chi2

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.secure_sum.masks.pairwise import PairwiseMasks
from fraudfed.secure_sum.masks.self_masks import self_streams
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.plaintexts import make
from fraudfed.secure_sum.tags import TAG_PRIME, TagCoefficients

BUCKETS = 64
SIGNIFICANCE = 1e-9
#: 7 slots of 17 bits in the 134 bits that a 256-bit key leaves: 4,000 plaintexts.
SIZE = 28_000
BOUND = 2**15


def contribution(package: KeyPackage, n_banks: int, part: Int64Array) -> SummingRound:
    cohort = SummingCohort(package, n_banks)
    return cohort.round([part] * n_banks, BOUND)


def seen(package: KeyPackage, one: SummingRound, bank: int) -> list[int]:
    """Return the plaintexts of one bank's contribution, as residues modulo N."""
    opened = package.private_key.decrypt(one.payloads[bank])
    return [plaintext % package.public_key.n for plaintext in opened]


def chi_square(counts: Int64Array) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def statistics(residues: list[int], n: int) -> list[float]:
    """Chi-square of the position in [0, N), of the lowest bits, and of bits in between."""
    buckets = [
        [value * BUCKETS // n for value in residues],
        [value % BUCKETS for value in residues],
        [(value >> 99) % BUCKETS for value in residues],
        [(value >> 120) % BUCKETS for value in residues],
        [(value >> 200) % BUCKETS for value in residues],
    ]
    return [chi_square(np.bincount(column, minlength=BUCKETS)) for column in buckets]


LIMIT = float(chi2.isf(SIGNIFICANCE / 5, BUCKETS - 1))


@pytest.mark.parametrize("value", [0, 1, -1, BOUND // 3], ids=["zeros", "ones", "minus", "large"])
def test_masked_plaintexts_are_uniform_modulo_n(package_256: KeyPackage, value: int) -> None:
    n = package_256.public_key.n
    one = contribution(package_256, 3, np.full(SIZE, value))
    assert one.layout.n_plaintexts == 4000
    for bank in range(3):
        assert max(statistics(seen(package_256, one, bank), n)) < LIMIT


def test_two_honest_banks_are_uniform_to_all_others_together(package_256: KeyPackage) -> None:
    """After the round: all seeds are revealed, and all banks but two pool what they know."""
    n = package_256.public_key.n
    cohort = SummingCohort(package_256, 5)
    one = cohort.round([np.full(SIZE, bank) for bank in range(5)], BOUND)
    own = signed_sum(self_streams([one.sealed[0].seed]), one.layout.n_plaintexts, n)
    unmasked = [
        (value - mask) % n for value, mask in zip(seen(package_256, one, 0), own, strict=True)
    ]
    for traitor in ("bank2", "bank3", "bank4"):
        pair = ("bank0", traitor)
        known = PairwiseMasks("bank0", pair, {traitor: cohort.agreed[traitor]["bank0"]})
        masks = known.totals(one.contexts[0].digest, len(unmasked), n)
        unmasked = [(value - mask) % n for value, mask in zip(unmasked, masks, strict=True)]
    assert max(statistics(unmasked, n)) < LIMIT
    assert not set(unmasked) & packed(package_256, one, 0)
    # With bank1 in it as well nothing is left but the statistic: the sum minus their own.
    last = PairwiseMasks("bank0", ("bank0", "bank1"), {"bank1": cohort.agreed["bank1"]["bank0"]})
    masks = last.totals(one.contexts[0].digest, len(unmasked), n)
    bare = {(value - mask) % n for value, mask in zip(unmasked, masks, strict=True)}
    assert bare == packed(package_256, one, 0)


def packed(package: KeyPackage, one: SummingRound, bank: int) -> set[int]:
    """Return a bank's plaintexts without masks, as residues."""
    coefficients = TagCoefficients(
        package.expose_secret(),
        one.contexts[bank].digest,
        firsts=one.layout.firsts,
        n_values=one.layout.n_values,
    )
    count, digest = one.layout.n_plaintexts, one.contexts[bank].digest
    tag_masks = one.banks[bank]._tag_masks.totals(digest, count, TAG_PRIME)
    plain = make(one.layout.flat(one.parts[bank]), one.layout, coefficients, tag_masks)
    return {plaintext % package.public_key.n for plaintext in plain}


def test_masked_plaintext_is_never_the_packed_one(package_256: KeyPackage) -> None:
    one = contribution(package_256, 2, np.arange(SIZE) % 7)
    for bank in range(2):
        assert not set(seen(package_256, one, bank)) & packed(package_256, one, bank)


def test_the_statistic_tells_unmasked_plaintexts(
    package_256: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_masks(monkeypatch)
    one = contribution(package_256, 3, np.full(SIZE, 1))
    assert max(statistics(seen(package_256, one, 0), package_256.public_key.n)) > 10 * LIMIT
    assert set(seen(package_256, one, 0)) == packed(package_256, one, 0)
