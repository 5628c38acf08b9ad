"""A member that has seen all boxes before it makes its own: what it cannot exchange any more."""

from collections.abc import Callable

import numpy as np
import pytest
from attack_kit.sums import AttackedSums, Outcome, make_parts
from attack_kit.sums_without import (
    without_commitments,
    without_signatures,
    without_the_record_of_contexts,
)
from cohorts.secure import SummingRound, multiply
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, SumError
from fraudfed.paillier.vector import CiphertextVector, shard_length
from fraudfed.secure_sum import openings
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.header import HEADER_BITS
from fraudfed.secure_sum.masks import self_masks
from fraudfed.secure_sum.masks.self_masks import commitment_to
from fraudfed.secure_sum.tags import TagCoefficients

MakeSums = Callable[..., AttackedSums]
Patch = pytest.MonkeyPatch


class Turncoat:
    """A round of three banks, of which bank-2 has seen the boxes of the others before its own."""

    MEMBER = 2

    def __init__(self, sums: AttackedSums, seed: int = 1) -> None:
        self.sums = sums
        self.one: SummingRound = sums.contribute(make_parts(3, seed))
        self.boxes = self.one.open(self.one.product)
        self.identity = sums.identities[sums.roster[self.MEMBER]]
        self.seed = self.one.sealed[self.MEMBER].seed

    @property
    def truth(self) -> Int64Array:
        return np.sum(self.one.parts, axis=0)

    def revealed(self, bank: int) -> openings.Revealed:
        """Return what is in a bank's box: every member can open it."""
        return openings.unbox(
            self.boxes[bank],
            self.sums.package.expose_secret(),
            self.sums.package.public_key,
            self.one.contexts[0],
            shard=bank,
            count=shard_length(self.one.layout.n_plaintexts, bank, 3),
        )

    def amounts(self, change: Int64Array) -> list[int]:
        """Return what adds ``change`` to the sum's plaintexts, tags included."""
        coefficients = TagCoefficients(
            self.sums.package.expose_secret(),
            self.one.contexts[0].digest,
            firsts=self.one.layout.firsts,
            n_values=self.one.layout.n_values,
        )
        tags = coefficients.tags(change, count=0)
        return [p + tag for p, tag in zip(self.one.layout.join(change), tags, strict=True)]

    def shifted(self, bank: int, by: int = 5) -> tuple[list[int], Int64Array]:
        """Return the plaintexts of a shard with its first value raised, and that change."""
        change = np.zeros(self.one.layout.n_values, dtype=np.int64)
        change[self.one.layout.firsts[bank]] = by
        amounts = self.amounts(change)[bank::3]
        values = self.revealed(bank).values
        return [value + amount for value, amount in zip(values, amounts, strict=True)], change

    def combined(self, boxes: list[bytes], *, is_told: bool = True) -> list[Outcome]:
        """Return what the two honest banks end with."""
        outcomes: list[Outcome] = []
        for bank in range(2):
            try:
                outcomes.append(self.one.combine(boxes, bank=bank, is_told=is_told))
            except FraudFedError as error:
                outcomes.append(error)
        return outcomes

    def with_box(self, bank: int, box: bytes) -> list[bytes]:
        return [box if place == bank else one for place, one in enumerate(self.boxes)]


def assert_refused(outcomes: list[Outcome], fault: SumFault, *names: str) -> None:
    """Assert that all end with the same fault in the same words, which name these banks alone."""
    (text,) = {str(outcome) for outcome in outcomes}
    assert all(isinstance(outcome, SumError) for outcome in outcomes)
    assert f": {fault}: " in text
    for name in ("bank-0", "bank-1", "bank-2"):
        assert (f"'{name}'" in text) == (name in names), text


def test_a_replaced_seed_is_refused_and_named(make_sums: MakeSums) -> None:
    member = Turncoat(make_sums(3))
    other = bytes([*member.seed[:-1], member.seed[-1] ^ 1])
    boxes = member.with_box(2, member.one.box(member.revealed(2).values, bank=2, seed=other))
    assert_refused(member.combined(boxes), SumFault.SEED, "bank-2")
    # A bank that only reads a closed round knows no list: the signatures still bind it.
    assert_refused(
        member.combined(boxes, is_told=False), SumFault.SIGNATURE, "bank-0", "bank-1", "bank-2"
    )


@pytest.mark.parametrize("values", ["true", "shifted"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_box_in_anothers_name_is_refused_and_named(
    make_sums: MakeSums, victim: int, values: str
) -> None:
    """It has the consortium's secret, so the box opens; it lacks the other's signing key."""
    member = Turncoat(make_sums(3))
    shown = member.revealed(victim)
    forged = shown.values if values == "true" else member.shifted(victim)[0]
    box = member.one.box(forged, bank=victim, signer=member.identity)
    name = f"bank-{victim}"
    for is_told in (True, False):
        outcomes = member.combined(member.with_box(victim, box), is_told=is_told)
        assert_refused(outcomes, SumFault.SIGNATURE, name)


@pytest.mark.parametrize("what", ["values", "seed", "signature", "shard"])
def test_a_signature_is_over_exactly_what_is_revealed(make_sums: MakeSums, what: str) -> None:
    """A member opens an honest box, changes one part of it and seals it again."""
    member = Turncoat(make_sums(3))
    sums, one = member.sums, member.one
    key = openings.opening_key(sums.package.expose_secret(), one.contexts[0])
    context = bytes.fromhex(one.contexts[0].digest)
    source = 1 if what == "shard" else 0
    box, place = member.boxes[source], source.to_bytes(4, "big")
    content = bytearray(ChaCha20Poly1305(key).decrypt(box[:12], box[12:], context + place))
    position = {"values": 40, "seed": -90, "signature": -10, "shard": None}[what]
    if position is not None:
        content[position] ^= 1
    target = (0).to_bytes(4, "big")
    size = shard_length(one.layout.n_plaintexts, 0, 3) * sums.package.public_key.plaintext_bytes
    if len(content) != size + 32 + 64:
        # Shards of other sizes are told apart before: take one plaintext away or repeat one.
        width = sums.package.public_key.plaintext_bytes
        extra = content[:width] * ((size + 96 - len(content)) // width)
        content = extra + content
    forged = bytes(12) + ChaCha20Poly1305(key).encrypt(bytes(12), bytes(content), context + target)
    fault = SumFault.SIGNATURE
    assert_refused(member.combined(member.with_box(0, forged)), fault, "bank-0")


def test_control_without_signatures_a_member_forges_anothers_shard(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    without_signatures(monkeypatch)
    member = Turncoat(make_sums(3))
    values, change = member.shifted(0)
    box = member.one.box(values, bank=0, signer=member.identity)
    for outcome in member.combined(member.with_box(0, box)):
        np.testing.assert_array_equal(outcome, member.truth + change)


def replaced_contribution(member: Turncoat) -> tuple[CiphertextVector, bytes]:
    """Seal another vector, after all boxes were seen; return the new product and the new seed."""
    other = member.one.parts[2] + 3
    sealed = member.one.banks[2].seal(other, member.one.layout, member.one.contexts[2])
    vector = CiphertextVector(member.sums.package.public_key, sealed.payload)
    return multiply([*member.one.payloads[:2], vector]), sealed.seed


@pytest.mark.parametrize("told", ["old-seed", "new-seed"])
def test_a_contribution_replaced_after_all_boxes_is_refused(
    make_sums: MakeSums, monkeypatch: Patch, told: str
) -> None:
    without_the_record_of_contexts(monkeypatch)
    member = Turncoat(make_sums(3))
    product, new_seed = replaced_contribution(member)
    opened = member.sums.package.private_key.decrypt(product.shard(2, 3))
    seed = member.seed if told == "old-seed" else new_seed
    boxes = member.with_box(2, member.one.box(opened, bank=2, seed=seed))
    if told == "new-seed":
        assert_refused(member.combined(boxes), SumFault.SEED, "bank-2")
    else:
        assert_refused(member.combined(boxes), SumFault.MASKS)


def test_control_without_commitments_a_replaced_contribution_passes(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    """In the member's own shard: of a sum that has one plaintext, that is all of it."""
    without_the_record_of_contexts(monkeypatch)
    without_commitments(monkeypatch)
    sums = make_sums(3)
    layout = sums.layout(1000, (3,))
    assert layout.n_plaintexts == 1
    contexts = [sums.context(bank, layout) for bank in range(3)]
    one = SummingRound(sums.banks, layout, contexts, [np.array([bank, 7, 1]) for bank in range(3)])
    # The one plaintext is opened by bank-0, which is the member here.
    boxes = one.open(one.product)
    sealed = one.banks[0].seal(np.array([0, 500, 1]), layout, contexts[0])
    vector = CiphertextVector(sums.package.public_key, sealed.payload)
    opened = sums.package.private_key.decrypt(multiply([vector, *one.payloads[1:]]))
    boxes[0] = one.box(opened, bank=0, seed=sealed.seed)
    for bank in (1, 2):
        assert one.combine(boxes, bank=bank).tolist() == [3, 514, 3]


def test_a_commitment_that_was_copied_cannot_be_opened(make_sums: MakeSums) -> None:
    """A member commits to what another has committed to, to reveal the other's seed as its own."""
    member = Turncoat(make_sums(3))
    one = member.one
    one.commitments[2] = one.commitments[0]
    boxes = [one.open_shard(one.product.shard(bank, 3).data, bank=bank) for bank in range(2)]
    seed = openings.unbox(
        boxes[0],
        member.sums.package.expose_secret(),
        member.sums.package.public_key,
        one.contexts[0],
        shard=0,
        count=shard_length(one.layout.n_plaintexts, 0, 3),
    ).seed
    boxes.append(one.box(member.revealed(2).values, bank=2, seed=seed))
    assert_refused(member.combined(boxes), SumFault.SEED, "bank-2")


def test_control_a_commitment_without_its_bank_can_be_copied(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    """The sum is noise then, and nobody is named for it."""
    original = self_masks.derive_key
    monkeypatch.setattr(
        self_masks,
        "derive_key",
        lambda secret, purpose, *parts: original(secret, purpose, *parts[:1]),
    )
    member = Turncoat(make_sums(3))
    one = member.one
    one.commitments[2] = one.commitments[0]
    boxes = [one.open_shard(one.product.shard(bank, 3).data, bank=bank) for bank in range(2)]
    boxes.append(one.box(member.revealed(2).values, bank=2, seed=one.sealed[0].seed))
    assert_refused(member.combined(boxes), SumFault.MASKS)


def equivocated(member: Turncoat) -> tuple[list[bytes], list[str]]:
    """Tell bank-1 another commitment of the member than bank-0; return boxes and that list."""
    one = member.one
    other_seed = bytes(32)
    told = [*one.commitments[:2], commitment_to(other_seed, one.contexts[0], bank="bank-2")]
    boxes = list(member.boxes)
    boxes[1] = one.open_shard(one.product.shard(1, 3).data, bank=1, commitments=told)
    return boxes, told


def test_equivocated_commitments_are_refused(make_sums: MakeSums) -> None:
    """Each bank is shown what it was told, and what was signed under the other list fails."""
    member = Turncoat(make_sums(3))
    boxes, told = equivocated(member)
    one = member.one
    with pytest.raises(SumError, match=f"{SumFault.SIGNATURE}: opening of bank 'bank-1'"):
        one.combine(boxes, bank=0)
    with pytest.raises(SumError, match=f"{SumFault.SIGNATURE}: opening of bank 'bank-0'"):
        one.banks[1].combine(boxes, one.layout, one.contexts[1], commitments=told)
    with pytest.raises(SumError, match=SumFault.SIGNATURE):
        one.combine(boxes, bank=1, is_told=False)


def test_control_without_the_list_in_the_signature_one_bank_gets_a_number(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(openings, "commitments_digest", lambda context, commitments: bytes(32))
    member = Turncoat(make_sums(3))
    boxes, told = equivocated(member)
    one = member.one
    np.testing.assert_array_equal(one.combine(boxes, bank=0), member.truth)
    with pytest.raises(SumError, match=SumFault.SEED):
        one.banks[1].combine(boxes, one.layout, one.contexts[1], commitments=told)


def test_a_member_can_choose_the_totals_of_its_own_shard(make_sums: MakeSums) -> None:
    """Documented: integrity only. It is signed, so it is known whose it is."""
    member = Turncoat(make_sums(3))
    values, change = member.shifted(2)
    boxes = member.with_box(2, member.one.box(values, bank=2))
    for outcome in member.combined(boxes):
        np.testing.assert_array_equal(outcome, member.truth + change)


def test_a_member_that_shifts_its_shard_and_not_its_tag_is_noticed(make_sums: MakeSums) -> None:
    member = Turncoat(make_sums(3))
    blind = [value + (1 << HEADER_BITS) for value in member.revealed(2).values]
    boxes = member.with_box(2, member.one.box(blind, bank=2))
    assert_refused(member.combined(boxes), SumFault.TAG)
