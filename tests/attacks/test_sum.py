"""A malicious aggregator between honest banks: every sum is exact or an error that says why.

Each control takes one defence out, in this process only, and shows that the attack then yields a
wrong number at every bank. So it is that defence which stops the attack.
"""

import dataclasses
import secrets
from collections.abc import Callable

import numpy as np
import pytest
from attack_kit.products import ATTACKS, encrypt_publicly
from attack_kit.sums import AttackedSums, Outcome, make_parts
from attack_kit.sums_without import (
    without_contexts,
    without_masks,
    without_self_masks,
    without_tags,
    without_the_record_of_contexts,
)

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import CiphertextError, FraudFedError, SumError
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.header import HEADER_BITS, Header
from fraudfed.secure_sum.tags import TAG_PRIME
from fraudfed.secure_sum.transcript import Transcript

MakeSums = Callable[..., AttackedSums]
Patch = pytest.MonkeyPatch


def attacked_round(sums: AttackedSums, attack: str) -> dict[str, Outcome]:
    """Do an honest round first, so that there is something to replay; then the attacked one."""
    sums.sum(make_parts(len(sums.roster), 1))
    return sums.sum(make_parts(len(sums.roster), 2), ATTACKS[attack])


def truth(n_banks: int, seed: int = 2) -> Int64Array:
    return np.sum(make_parts(n_banks, seed), axis=0)


def kinds_of(errors: dict[str, Outcome]) -> dict[str, SumFault]:
    """Return which kind of fault each bank's error names; exactly one each."""
    found = {}
    for name, error in errors.items():
        assert isinstance(error, SumError), f"{name} got {error!r}"
        named = [fault for fault in SumFault if f": {fault.value}: " in str(error)]
        assert len(named) == 1, error
        found[name] = named[0]
    return found


def assert_wrong_number_everywhere(outcomes: dict[str, Outcome], expected: Int64Array) -> None:
    """Assert what a control shows: that the attack has succeeded."""
    for outcome in outcomes.values():
        assert not isinstance(outcome, FraudFedError), outcome
        assert not np.array_equal(outcome, expected)


@pytest.mark.parametrize("n_banks", [3, 5])
def test_without_an_attack_every_bank_has_the_sum(make_sums: MakeSums, n_banks: int) -> None:
    sums = make_sums(n_banks)
    for seed in (1, 2):
        for outcome in sums.sum(make_parts(n_banks, seed)).values():
            np.testing.assert_array_equal(outcome, truth(n_banks, seed))


@pytest.mark.parametrize("n_banks", [3, 5])
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_bank_uses_an_attacked_sum(make_sums: MakeSums, attack: str, n_banks: int) -> None:
    sums = make_sums(n_banks)
    outcomes = attacked_round(sums, attack)
    # Even those whose own shard was untouched, and even if nobody had told them: all alike, so that
    # an answer tells nothing about the bank that gives it.
    assert len(set(kinds_of(outcomes).values())) == 1
    assert len({str(outcome) for outcome in outcomes.values()}) == 1
    # What was refused is not history: the next honest round is a number again.
    for outcome in sums.sum(make_parts(n_banks, 3)).values():
        np.testing.assert_array_equal(outcome, truth(n_banks, 3))


#: What is not the sum of all contributions, once each, is noise, whichever part was touched.
KINDS = {
    **dict.fromkeys(ATTACKS, SumFault.MASKS),
    "add_a_known_plaintext": SumFault.TAG,
    "add_to_a_contribution": SumFault.TAG,
    "add_to_the_tag": SumFault.TAG,
    "add_to_the_count": SumFault.COUNT,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_error_names_the_kind_of_fault(make_sums: MakeSums, attack: str) -> None:
    sums = make_sums(4)
    found = kinds_of(attacked_round(sums, attack))
    # Also at the bank that was left out or counted twice: it could tell, and does not.
    assert found == dict.fromkeys(sums.roster, KINDS[attack])


def test_blind_forgeries_of_the_tag_do_not_pass(make_sums: MakeSums) -> None:
    """Add to a value and, on top, guess what that adds to its tag: 200 guesses, none right."""
    sums = make_sums(3)
    one = sums.contribute(make_parts(3))
    product, key = one.product, sums.package.public_key
    first, boxes = product.integers()[0], one.open(product)
    for _ in range(200):
        guess = secrets.randbelow(TAG_PRIME)
        forged = first * encrypt_publicly(key, (1 << HEADER_BITS) + guess) % key.modulus_squared
        values = [forged, *product.integers()[1:]]
        part = CiphertextVector.of_integers(key, values).shard(0, 3)
        with pytest.raises(SumError, match=SumFault.TAG):
            one.combine([one.open_shard(part.data), *boxes[1:]])


def test_an_exchanged_opening_does_not_authenticate(make_sums: MakeSums) -> None:
    """Boxes of another round, of another bank, altered, cut off, or left out."""
    sums = make_sums(3)
    boxes: list[list[bytes]] = []
    for seed in (1, 2):
        one = sums.contribute(make_parts(3, seed))
        boxes.append(one.open(one.product))
    old, new = boxes
    flipped = bytes([*new[0][:40], new[0][40] ^ 128, *new[0][41:]])
    for forged, fault in (
        ([old[0], new[1], new[2]], f"{SumFault.BOX}: opening of bank 'bank-0'"),
        ([new[0], new[1], old[2]], f"{SumFault.BOX}: opening of bank 'bank-2'"),
        (old, SumFault.BOX),
        ([new[0], new[1], new[1]], ""),
        ([new[0], new[2], new[1]], f"{SumFault.BOX}: opening of bank 'bank-1'"),
        ([flipped, new[1], new[2]], f"{SumFault.BOX}: opening of bank 'bank-0'"),
        ([new[0][:-1], new[1], new[2]], f"{SumFault.OPENER}: opening of bank 'bank-0'"),
        ([new[0], new[1], b""], f"{SumFault.OPENER}: opening of bank 'bank-2'"),
        (new[:2], f"{SumFault.OPENINGS}: 2 openings, expected 3"),
        ([*new, new[0]], f"{SumFault.OPENINGS}: 4 openings"),
    ):
        for bank in range(3):
            with pytest.raises(SumError) as refusal:
                one.combine(forged, bank=bank)
            assert fault in str(refusal.value)


def different(place: int, **changes: object) -> Callable[[int, RoundContext], RoundContext]:
    return lambda bank, context: (
        dataclasses.replace(context, **changes) if bank == place else context
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 2},
        {"round_number": 7},
        {"run_id": "another run"},
        {"label": "metric:auc"},
        {"previous": "22" * 32},
    ],
    ids=str,
)
def test_banks_with_different_contexts_get_no_number(
    make_sums: MakeSums, changes: dict[str, object]
) -> None:
    sums = make_sums(3)
    outcomes = sums.sum(make_parts(3), change=different(1, **changes))
    assert set(kinds_of(outcomes).values()) == {SumFault.BOX}
    # A bank that opens in the common context does not accept an opening of the other.
    assert all("opening of bank 'bank-1'" in str(outcomes[name]) for name in ("bank-0", "bank-2"))


def test_banks_that_were_shown_different_keys_get_no_number(make_sums: MakeSums) -> None:
    """The names are the same, so only the digest of the keys can tell."""
    sums = make_sums(3, roster_digests=["11" * 32, "11" * 32, "33" * 32])
    assert set(kinds_of(sums.sum(make_parts(3))).values()) == {SumFault.BOX}


def test_banks_with_different_histories_get_no_number(make_sums: MakeSums) -> None:
    """One bank was told another sum in the round before."""
    sums = make_sums(3)
    sums.sum(make_parts(3, 1))
    fooled = sums.banks[1].begin_transcript(b"run")
    context = sums.rounds[-1].contexts[1]
    sums.transcripts[1] = fooled.advance(context, truth(3, 1) + 1)
    assert set(kinds_of(sums.sum(make_parts(3, 2))).values()) == {SumFault.BOX}


def test_reordered_rounds_get_no_number(make_sums: MakeSums) -> None:
    """Contributions to round 0 are shown as round 1 and the other way round."""
    sums = make_sums(3)
    sums.contribute(make_parts(3, 1))
    sums.contribute(make_parts(3, 2))
    first, second = (one.product for one in sums.rounds)
    assert set(kinds_of(sums.open(first)).values()) == {SumFault.MASKS}
    assert set(kinds_of(sums.open(second, number=0)).values()) == {SumFault.MASKS}
    np.testing.assert_array_equal(sums.open(first, number=0)["bank-0"], truth(3, 1))


def test_a_bank_seals_once_under_a_context(make_sums: MakeSums) -> None:
    """Or the difference of two contributions would be that of two vectors."""
    sums = make_sums(3)
    one = sums.contribute(make_parts(3, 1))
    with pytest.raises(SumError, match=SumFault.REUSE.value):
        one.banks[0].seal(make_parts(3, 2)[0], one.layout, one.contexts[0])


def bad_ciphertexts(key: KeyPackage) -> dict[str, int]:
    """Return what is no ciphertext under a key, by what it is."""
    parts = key.private_key.expose_secret_parts()
    n = key.public_key.n
    prime = next(value for value in parts.values() if value > 1 and n % value == 0 and value != n)
    return {
        "zero": 0,
        "n": n,
        "a prime of n": prime,
        "a multiple of a prime": 12345 * prime,
        "n squared": n * n,
        "above n squared": n * n + 1,
        "the largest of its width": (1 << 8 * key.public_key.ciphertext_bytes) - 1,
    }


def test_a_bank_decrypts_nothing_that_is_no_ciphertext(
    make_sums: MakeSums, package: KeyPackage
) -> None:
    sums = make_sums(3)
    one = sums.contribute(make_parts(3))
    width = package.public_key.ciphertext_bytes
    good = one.product.shard(0, 3).data
    for value in bad_ciphertexts(package).values():
        with pytest.raises(CiphertextError, match="ciphertext 0 of"):
            one.open_shard(value.to_bytes(width, "big") + good[width:])
    for data in (good[:-1], good + b"\0", good[:-width], good + good[:width], b""):
        with pytest.raises(CiphertextError):
            one.open_shard(data)


def test_an_encryption_of_nothing_is_refused(make_sums: MakeSums) -> None:
    """1 is a ciphertext, of 0 without noise; as a sum it is what the self masks make of 0."""
    sums = make_sums(3)
    sums.contribute(make_parts(3))
    key = sums.package.public_key
    ones = CiphertextVector(key, (1).to_bytes(key.ciphertext_bytes, "big") * len(sums.sent[0][0]))
    assert set(kinds_of(sums.open(ones)).values()) == {SumFault.MASKS}


# The controls. Each takes out what it names and nothing else.


def assert_forged(outcomes: dict[str, Outcome]) -> None:
    """Assert that what a bank ends with is another number, unless that leaves its bounds.

    An attacker only has to stay below them.
    """
    for outcome in outcomes.values():
        if not isinstance(outcome, FraudFedError):
            assert not np.array_equal(outcome, truth(3))
            continue
        assert set(kinds_of({"": outcome}).values()) == {SumFault.TAG}


@pytest.mark.parametrize("attack", ["add_a_known_plaintext", "add_to_a_contribution"])
def test_control_without_the_tag_a_forged_sum_passes(
    make_sums: MakeSums, monkeypatch: Patch, attack: str
) -> None:
    without_tags(monkeypatch)
    outcomes = attacked_round(make_sums(3), attack)
    assert_wrong_number_everywhere(outcomes, truth(3))


@pytest.mark.parametrize(
    "attack",
    [
        "alter_the_sum",
        "scale_and_patch_the_count",
        "negate_and_patch_the_count",
        "swap_plaintexts",
        "replay_the_sum",
    ],
)
def test_control_without_tag_and_self_masks_an_exchanged_sum_passes(
    make_sums: MakeSums, monkeypatch: Patch, attack: str
) -> None:
    without_tags(monkeypatch)
    assert set(kinds_of(attacked_round(make_sums(3), attack)).values()) == {SumFault.MASKS}
    without_self_masks(monkeypatch)
    outcomes = attacked_round(make_sums(3), attack)
    assert_forged(outcomes)
    if attack in {"swap_plaintexts", "replay_the_sum"}:
        assert_wrong_number_everywhere(outcomes, truth(3))


@pytest.mark.parametrize("attack", ["drop_and_patch_the_count", "exchange_a_contribution"])
def test_control_without_tag_and_masks_a_missing_bank_passes(
    make_sums: MakeSums, monkeypatch: Patch, attack: str
) -> None:
    without_tags(monkeypatch)
    assert set(kinds_of(attacked_round(make_sums(3), attack)).values()) == {SumFault.MASKS}
    without_masks(monkeypatch)
    assert_wrong_number_everywhere(attacked_round(make_sums(3), attack), truth(3))


def test_control_without_tag_and_count_a_scaled_sum_passes(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    without_tags(monkeypatch)
    without_self_masks(monkeypatch)
    assert set(kinds_of(attacked_round(make_sums(3), "negate_the_sum")).values()) == {
        SumFault.COUNT
    }
    monkeypatch.setattr(Header, "of", classmethod(lambda cls, plaintext: cls(tag=0, count=3)))
    assert_wrong_number_everywhere(attacked_round(make_sums(3), "negate_the_sum"), truth(3))


@pytest.mark.parametrize("attack", ["replay_the_sum"])
def test_control_without_the_context_a_replayed_sum_passes(
    make_sums: MakeSums, monkeypatch: Patch, attack: str
) -> None:
    without_contexts(monkeypatch)
    # The seeds are of this round all the same.
    assert set(kinds_of(attacked_round(make_sums(3), attack)).values()) == {SumFault.MASKS}
    without_self_masks(monkeypatch)
    outcomes = attacked_round(make_sums(3), attack)
    assert_wrong_number_everywhere(outcomes, truth(3))
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome, truth(3, 1))


def test_control_without_the_context_banks_that_disagree_get_a_number(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    without_contexts(monkeypatch)
    sums = make_sums(3)
    for outcome in sums.sum(make_parts(3), change=different(1, epoch=2, label="metric")).values():
        assert not isinstance(outcome, FraudFedError), outcome


def test_control_without_the_context_an_old_opening_passes(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    without_contexts(monkeypatch)
    sums = make_sums(3)
    boxes = []
    for seed in (1, 2):
        one = sums.contribute(make_parts(3, seed))
        boxes.append(one.open(one.product))
    # A bank that takes part knows this round's commitments, which the old boxes are not signed for.
    with pytest.raises(SumError, match=SumFault.SIGNATURE):
        one.combine(boxes[0], bank=1)
    np.testing.assert_array_equal(one.combine(boxes[0], bank=1, is_told=False), truth(3, 1))


def test_control_without_the_transcript_a_replaced_history_passes(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Transcript, "advance", lambda self, context, total: self)
    sums = make_sums(3)
    sums.sum(make_parts(3, 1))
    context = sums.rounds[-1].contexts[1]
    sums.transcripts[1] = sums.transcripts[1].advance(context, truth(3, 1) + 1)
    for outcome in sums.sum(make_parts(3, 2)).values():
        np.testing.assert_array_equal(outcome, truth(3, 2))


def difference_of_two(sums: AttackedSums) -> int:
    """Have a bank seal twice under one context, with 77 more in its first value.

    Return the difference of the first slots, as every holder of the Paillier key sees it.
    """
    parts = make_parts(3, 1)
    one = sums.contribute(parts)
    more = parts[0].copy()
    more[0] += 77
    sealed = one.banks[0].seal(more, one.layout, one.contexts[0])
    again = CiphertextVector(sums.package.public_key, sealed.payload)
    n = sums.package.public_key.n
    first, second = (
        sums.package.private_key.decrypt(vector)[0] for vector in (one.payloads[0], again)
    )
    # The tags differ too, and are below half a slot: they round away.
    return (second - first + (1 << HEADER_BITS - 1)) % n >> HEADER_BITS


def test_control_without_the_record_of_contexts_masks_are_used_twice(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    """Two contributions under one context show nothing before their seeds are revealed."""
    without_the_record_of_contexts(monkeypatch)
    assert difference_of_two(make_sums(3)) != 77
    without_self_masks(monkeypatch)
    assert difference_of_two(make_sums(3)) == 77


def test_control_without_the_check_a_zero_is_multiplied_in(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    """A bank that does not look would decrypt what shows a factor of n."""
    monkeypatch.setattr(CiphertextVector, "check", lambda self: None)
    monkeypatch.setattr(PrivateKey, "_require_units", lambda self, *_: None)
    sums = make_sums(3)
    one = sums.contribute(make_parts(3))
    width = sums.package.public_key.ciphertext_bytes
    good = one.product.shard(0, 3).data
    assert one.open_shard(bytes(width) + good[width:])
