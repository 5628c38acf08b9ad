"""Each defence taken out: the attack that it stops then succeeds.

The first half of each test shows the attack refused, the second that it goes through unnoticed
with the one defence patched away. That no test of attacks passes for another reason rests on this.
"""

import secrets

import numpy as np
import pytest
from attack_kit.ciphertexts import COUNT_ONE, added, exchanged, scaled
from attack_kit.sums_without import (
    without_contexts,
    without_pairwise_masks,
    without_self_masks,
    without_tags,
)
from cohorts.secure import SummingCohort, SummingRound, multiply

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import SumError
from fraudfed.secure_sum import openings, plaintexts, tags, transcript
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.header import HEADER_BITS, Header
from fraudfed.secure_sum.masks.self_masks import self_streams
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.tags import TAG_PRIME, TagCoefficients

BOUND = 2**20
SIZE = 51  # of 17 slots of 22 bits: three plaintexts


def parts(offset: int = 0) -> list[Int64Array]:
    return [np.arange(SIZE) * (bank - 1) + bank + offset for bank in range(3)]


def new_round(package: KeyPackage) -> SummingRound:
    return SummingCohort(package, 3).round(parts(), BOUND)


def without_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe the count that is read instead of comparing it with the roster."""
    read = plaintexts.read

    def believe(opened, layout, coefficients, *, n_banks, label):  # type: ignore[no-untyped-def]
        n_banks = Header.of(opened[0]).count if opened else n_banks
        return read(opened, layout, coefficients, n_banks=n_banks, label=label)

    monkeypatch.setattr(plaintexts, "read", believe)


def doubled(one: SummingRound) -> bool:
    """Tell whether every bank takes twice the sum for the sum."""
    results = one.finish(scaled(one.product, 2))
    return all(np.array_equal(result, 2 * sum(one.parts)) for result in results)


def test_without_masks_of_tags_carries_tell_how_the_sum_splits(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two honest banks, and a third that knows the coefficients and takes its own tag off."""

    def predictions() -> list[bool]:
        """Compare the carry of the honest tags with what the true split would make it."""
        cohort = SummingCohort(package, 3)
        found = []
        for number in range(20):
            one = cohort.round(parts(), BOUND, round_number=number)
            coefficients = TagCoefficients(
                package.expose_secret(),
                one.contexts[0].digest,
                firsts=one.layout.firsts,
                n_values=one.layout.n_values,
            )
            split = [coefficients.tags(part, count=1) for part in parts()]
            own = one.banks[2]._tag_masks.totals(one.contexts[2].digest, 3, TAG_PRIME)
            for index, plaintext in enumerate(one.unmasked(one.product)):
                mine = (split[2][index] + own[index]) % TAG_PRIME
                carry = Header.of(plaintext).tag - mine >= TAG_PRIME
                found.append(carry == (split[0][index] + split[1][index] >= TAG_PRIME))
        return found

    # 60 fair coins; all alike once in 2^60.
    assert not all(predictions())
    assert any(predictions())
    without_pairwise_masks(monkeypatch)
    assert all(predictions())


def test_without_masks_and_count_a_contribution_can_be_left_out(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_out() -> list[Int64Array]:
        one = new_round(package)
        return one.finish(multiply(one.payloads[:2]))

    with pytest.raises(SumError, match=SumFault.MASKS):
        left_out()
    # Either of the two kinds of masks is enough here.
    with monkeypatch.context() as patch:
        without_pairwise_masks(patch)
        with pytest.raises(SumError, match=SumFault.MASKS):
            left_out()
    without_self_masks(monkeypatch)
    with pytest.raises(SumError, match=SumFault.MASKS):
        left_out()
    without_pairwise_masks(monkeypatch)
    with pytest.raises(SumError, match=SumFault.COUNT):
        left_out()
    without_count(monkeypatch)
    for wrong in left_out():
        np.testing.assert_array_equal(wrong, sum(parts()[:2]))


def test_without_self_masks_and_count_the_sum_can_be_scaled(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SumError, match=SumFault.MASKS):
        doubled(new_round(package))
    without_self_masks(monkeypatch)
    with pytest.raises(SumError, match=SumFault.COUNT):
        doubled(new_round(package))
    without_count(monkeypatch)
    assert doubled(new_round(package))


def test_without_the_constant_in_the_tag_the_count_can_be_patched(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patched() -> list[Int64Array]:
        one = new_round(package)
        return one.finish(added(scaled(one.product, 2), [-3 * COUNT_ONE] * 3))

    with pytest.raises(SumError, match=SumFault.MASKS):
        patched()
    without_self_masks(monkeypatch)
    with pytest.raises(SumError, match=SumFault.TAG):
        patched()
    honest = TagCoefficients.tags
    monkeypatch.setattr(
        TagCoefficients, "tags", lambda self, values, *, count: honest(self, values, count=0)
    )
    for wrong in patched():
        np.testing.assert_array_equal(wrong, 2 * sum(parts()))


def test_without_tags_a_known_number_can_be_added(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add() -> list[Int64Array]:
        one = new_round(package)
        return one.finish(added(one.product, [5 << HEADER_BITS, 0, 0]))

    with pytest.raises(SumError, match=SumFault.TAG):
        add()
    without_tags(monkeypatch)
    expected = np.array(sum(parts()))
    expected[0] += 5
    for wrong in add():
        np.testing.assert_array_equal(wrong, expected)


def test_without_fresh_coefficients_for_each_slot_ciphertexts_can_be_exchanged(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange() -> list[Int64Array]:
        one = new_round(package)
        return one.finish(exchanged(one.product, 0, 1))

    with pytest.raises(SumError, match=SumFault.MASKS):
        exchange()
    without_self_masks(monkeypatch)
    with pytest.raises(SumError, match=SumFault.TAG):
        exchange()
    stream = tags.keystream
    monkeypatch.setattr(tags, "keystream", lambda key, n: (stream(key, 12) * n)[:n])
    expected = sum(parts())[np.r_[17:34, 0:17, 34:51]]
    for wrong in exchange():
        np.testing.assert_array_equal(wrong, expected)


def test_who_knows_the_coefficients_can_forge(package: KeyPackage) -> None:
    """Why they are secret; and what a bank that helps the aggregator can do (documented)."""
    one = new_round(package)
    coefficients = TagCoefficients(
        package.expose_secret(),
        one.contexts[0].digest,
        firsts=one.layout.firsts,
        n_values=one.layout.n_values,
    )
    change = np.zeros(SIZE, dtype=np.int64)
    change[[0, 20, 50]] = 5, -6, 7
    amounts = [
        slots + tag
        for slots, tag in zip(
            one.layout.join(change), coefficients.tags(change, count=0), strict=True
        )
    ]
    for wrong in one.finish(added(one.product, amounts)):
        np.testing.assert_array_equal(wrong, sum(parts()) + change)
    # With any other secret the same forgery is found.
    stranger = TagCoefficients(
        secrets.token_bytes(32),
        one.contexts[0].digest,
        firsts=one.layout.firsts,
        n_values=one.layout.n_values,
    )
    guessed = [
        (amount >> HEADER_BITS << HEADER_BITS) + tag % TAG_PRIME
        for amount, tag in zip(amounts, stranger.tags(change, count=0), strict=True)
    ]
    with pytest.raises(SumError, match=SumFault.TAG):
        one.finish(added(one.product, guessed))


def test_without_the_context_in_the_keys_a_contribution_can_be_replayed(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replay() -> list[Int64Array]:
        cohort = SummingCohort(package, 3)
        first = cohort.round(parts(), BOUND)
        cohort.advance(first, first.finish(first.product))
        second = cohort.round(parts(9), BOUND, round_number=1)
        return second.finish(multiply([first.payloads[0], *second.payloads[1:]]))

    with pytest.raises(SumError, match=SumFault.MASKS):
        replay()
    without_contexts(monkeypatch)
    # The seed is of this round's contribution, even under one context.
    with pytest.raises(SumError, match=SumFault.MASKS):
        replay()
    without_self_masks(monkeypatch)
    for wrong in replay():
        np.testing.assert_array_equal(wrong, sum(parts(9)) - 9)


@pytest.mark.parametrize("what", ["previous", "roster_digest"])
def test_without_history_and_roster_in_the_context_a_split_goes_unnoticed(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def split() -> list[Int64Array]:
        digests = ["aa" * 32] * 3
        if what == "roster_digest":
            digests[1] = "bb" * 32
        cohort = SummingCohort(package, 3, roster_digests=digests)
        if what == "previous":
            cohort.transcripts[1] = cohort.banks[1].begin_transcript(b"other parameters")
        one = cohort.round(parts(), BOUND)
        return one.finish(one.product)

    with pytest.raises(SumError, match=SumFault.BOX):
        split()
    canonical = RoundContext.canonical_bytes

    def blind(self: RoundContext) -> bytes:
        return canonical(self).replace(bytes.fromhex(getattr(self, what)), bytes(32))

    monkeypatch.setattr(RoundContext, "canonical_bytes", blind)
    for result in split():
        np.testing.assert_array_equal(result, sum(parts()))


class Sealed:
    """A cipher that seals nothing."""

    def __init__(self, key: bytes) -> None:
        pass

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        return data + bytes(16)

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        return bytes(data[:-16])


def test_without_the_box_the_aggregator_reads_the_sum(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(one: SummingRound) -> Int64Array:
        """Read the boxes, as the aggregator that carries them could."""
        n, width = package.public_key.n, package.public_key.plaintext_bytes
        boxes = [box[12:] for box in one.open(one.product)]
        seeds = [box[width : width + 32] for box in boxes]
        masks = signed_sum(self_streams(seeds), len(boxes), n)
        shown = [
            openings.centred(int.from_bytes(box[:width], "big") - mask, n)
            for box, mask in zip(boxes, masks, strict=True)
        ]
        return one.layout.split(shown)[0]

    one = new_round(package)
    assert not np.array_equal(read(one), sum(one.parts))
    monkeypatch.setattr(openings, "ChaCha20Poly1305", Sealed)
    np.testing.assert_array_equal(read(one), sum(one.parts))


def test_without_a_key_the_transcript_betrays_small_sums(
    package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guess() -> list[int]:
        """Try all counts, as an aggregator that knows all the rest could."""
        cohort = SummingCohort(package, 3)
        first = cohort.round([np.array([4])] * 3, 50)
        cohort.advance(first, first.finish(first.product))
        seen = cohort.context(0, first.layout, round_number=1)
        mine = KeyPackage(package.private_key, secrets.token_bytes(32))
        begun = SummingCohort(mine, 3).banks[0].begin_transcript(b"run")
        assumed = transcript.Transcript(begun._key, first.contexts[0].previous)
        return [
            count
            for count in range(-50, 51)
            if assumed.advance(first.contexts[0], np.array([count])).digest == seen.previous
        ]

    assert guess() == []
    monkeypatch.setattr(transcript, "derive_key", lambda secret, purpose: bytes(32))
    assert guess() == [12]
