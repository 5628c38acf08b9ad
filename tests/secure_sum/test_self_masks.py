"""Seeds, commitments to them, and what openers sign: each depends on everything that it names."""

import dataclasses
from types import SimpleNamespace

import pytest
from cohorts.secure import SummingCohort

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.derivation import derive_key
from fraudfed.secure_sum.masks import self_masks
from fraudfed.secure_sum.masks.self_masks import (
    commitment_to,
    commitments_digest,
    is_committed,
    new_seed,
    self_streams,
)
from fraudfed.secure_sum.openings import signed_bytes


@pytest.fixture
def contexts(package: KeyPackage) -> tuple[RoundContext, RoundContext]:
    cohort = SummingCohort(package, 3)
    context = cohort.context(0, cohort.layout(9, (4,)))
    return context, dataclasses.replace(context, round_number=1)


def test_a_commitment_is_to_one_seed_context_and_bank(
    contexts: tuple[RoundContext, RoundContext],
) -> None:
    context, later = contexts
    seed = bytes(range(32))
    commitment = commitment_to(seed, context, bank="bank0")
    # 32 bytes that need the seed: HKDF of it.
    assert (
        commitment == derive_key(seed, "commitment", bytes.fromhex(context.digest), b"bank0").hex()
    )
    others = [
        commitment_to(bytes(32), context, bank="bank0"),
        commitment_to(seed, later, bank="bank0"),
        commitment_to(seed, context, bank="bank1"),
    ]
    assert len({commitment, *others}) == 4
    assert is_committed(seed, context, commitment, bank="bank0")
    assert not any(is_committed(seed, context, other, bank="bank0") for other in others)


def test_a_seed_is_fresh_and_of_its_context_and_plaintexts(
    contexts: tuple[RoundContext, RoundContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, later = contexts
    assert len({new_seed(context, b"rows") for _ in range(5)}) == 5
    # A machine that was set back: the operating system gives the same bytes again.
    monkeypatch.setattr(self_masks, "secrets", SimpleNamespace(token_bytes=bytes))
    seeds = {new_seed(context, b"rows"), new_seed(later, b"rows"), new_seed(context, b"others")}
    assert len(seeds) == 3
    assert new_seed(context, b"rows") in seeds


def test_self_masks_are_the_defined_streams() -> None:
    seeds = [bytes([number] * 32) for number in range(3)]
    streams = self_streams(seeds)
    assert [one.sign for one in streams] == [1, 1, 1]
    assert [one.key for one in streams] == [derive_key(seed, "self mask") for seed in seeds]
    # Neither the commitment nor the stream is the other, or gives the other away.
    assert streams[1].key != seeds[1]


def test_the_list_of_commitments_has_one_digest_in_one_order(
    contexts: tuple[RoundContext, RoundContext],
) -> None:
    context, later = contexts
    first, second = "aa" * 32, "bb" * 32
    digests = {
        commitments_digest(context, [first, second]),
        commitments_digest(context, [second, first]),
        commitments_digest(context, [first]),
        commitments_digest(context, []),
        commitments_digest(later, [first, second]),
    }
    assert len(digests) == 5
    assert all(len(digest) == 32 for digest in digests)


def test_an_opener_signs_every_part_of_what_it_reveals(
    contexts: tuple[RoundContext, RoundContext],
) -> None:
    context, later = contexts
    whole = (context, b"L" * 32, 1, b"v" * 32, b"s" * 32)
    changes = (later, b"l" * 32, 2, b"V" * 32, b"S" * 32)
    signed = {signed_bytes(*whole)}
    for place, change in enumerate(changes):
        signed.add(signed_bytes(*whole[:place], change, *whole[place + 1 :]))
    assert len(signed) == 6
    # Every part has its own length, so that none can be shifted into another.
    assert len({len(data) for data in signed}) == 1
