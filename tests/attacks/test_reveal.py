"""Before the last honest bank reveals there is only noise.

Colluders are the aggregator and some banks. They hold the Paillier private key, the consortium
secret, every byte that was ever sent, their own pairwise secrets and seeds, and whatever boxes they
have got the honest banks to make.
"""

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from attack_kit.ciphertexts import scaled
from attack_kit.colluders import Colluders, assert_not_uniform, assert_uniform
from attack_kit.sums import AttackedSums, make_parts
from attack_kit.sums_without import (
    without_pairwise_masks,
    without_self_masks,
    without_the_record_of_contexts,
)
from cohorts.secure import multiply

from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.header import HEADER_BITS
from fraudfed.secure_sum.masks import self_masks
from fraudfed.secure_sum.openings import centred

MakeSums = Callable[..., AttackedSums]
Patch = pytest.MonkeyPatch

HONEST = ("bank-0", "bank-1", "bank-2")
N_BANKS = 5
N_ROUNDS = 20


@pytest.fixture
def make_rounds(make_sums: MakeSums) -> Callable[[], AttackedSums]:
    def make() -> AttackedSums:
        made = make_sums(N_BANKS)
        for _ in range(N_ROUNDS):
            # The same statistic every time: any structure would add up over the rounds.
            made.contribute(make_parts(N_BANKS, 1))
        return made

    return make


def everyone(number: int, sums: AttackedSums) -> dict[str, int]:
    return dict.fromkeys(sums.roster, number)


# Nothing is known before the last honest bank reveals


def test_all_boxes_but_one_honest_banks_leave_noise(
    make_rounds: Callable[[], AttackedSums],
) -> None:
    """The product is the right one, and everyone but bank-0 has revealed its seed."""
    sums = make_rounds()
    colluders = Colluders(sums, HONEST)
    but_one = [name for name in sums.roster if name != "bank-0"]
    # As decrypted, and with every self mask off that can be taken off.
    for revealed in ([], but_one):
        found = [
            plaintext
            for number in range(N_ROUNDS)
            for plaintext in colluders.opened(number, everyone(number, sums), revealed=revealed)
        ]
        assert_uniform(found, colluders.n)


def test_control_without_the_self_mask_they_read_the_sum(
    make_rounds: Callable[[], AttackedSums], monkeypatch: Patch
) -> None:
    without_self_masks(monkeypatch)
    sums = make_rounds()
    colluders = Colluders(sums, HONEST)
    found = [
        plaintext
        for number in range(N_ROUNDS)
        for plaintext in colluders.opened(number, everyone(number, sums), revealed=[])
    ]
    assert_not_uniform(found, colluders.n)
    shown = colluders.read(colluders.opened(0, everyone(0, sums), revealed=[]))
    np.testing.assert_array_equal(shown, np.sum(make_parts(N_BANKS, 1), axis=0))


def test_a_bank_cannot_read_its_own_shard_before_the_others_reveal(
    make_rounds: Callable[[], AttackedSums],
) -> None:
    """It decrypts, as it has to, and takes its own seed off: the others' are on it."""
    sums = make_rounds()
    # A single curious bank, with nobody's help.
    curious = Colluders(sums, set(sums.roster) - {"bank-0"})
    found = [
        plaintext
        for number in range(N_ROUNDS)
        for plaintext in curious.opened(number, everyone(number, sums), revealed=["bank-0"])
    ]
    assert_uniform(found, curious.n)


def proper_subsets() -> list[tuple[str, ...]]:
    return [
        subset for size in range(1, len(HONEST)) for subset in itertools.combinations(HONEST, size)
    ]


@pytest.mark.parametrize("subset", proper_subsets(), ids="+".join)
def test_a_product_of_some_honest_banks_is_noise_though_all_reveal(
    make_rounds: Callable[[], AttackedSums], subset: tuple[str, ...]
) -> None:
    """A product without d, with and without the colluders' own parts: pairwise masks stay."""
    sums = make_rounds()
    colluders = Colluders(sums, HONEST)
    for others, strip in (((), True), ((), False), (("bank-3", "bank-4"), True)):
        found = []
        for number in range(N_ROUNDS):
            chosen = dict.fromkeys((*subset, *others), number)
            found += colluders.opened(number, chosen, revealed=chosen, strip=strip)
        assert_uniform(found, colluders.n)


def test_a_product_with_an_older_vector_is_noise_though_all_reveal(
    make_rounds: Callable[[], AttackedSums],
) -> None:
    sums = make_rounds()
    colluders = Colluders(sums, HONEST)
    found = []
    for number in range(1, N_ROUNDS):
        chosen = {**everyone(number, sums), "bank-0": number - 1}
        # Both of the seeds of bank-0, if a colluder had the older round opened as well.
        for seeds in (sums.roster, [name for name in sums.roster if name != "bank-0"]):
            found += colluders.opened(number, chosen, revealed=seeds)
    assert_uniform(found, colluders.n)


def test_control_without_pairwise_masks_a_part_is_read_once_all_reveal(
    make_rounds: Callable[[], AttackedSums], monkeypatch: Patch
) -> None:
    """Why self masks are not enough: they are gone from every contribution of a closed round."""
    without_pairwise_masks(monkeypatch)
    sums = make_rounds()
    colluders = Colluders(sums, HONEST)
    shown = colluders.opened(0, {"bank-0": 0}, revealed=["bank-0"], strip=False)
    np.testing.assert_array_equal(colluders.read(shown), make_parts(N_BANKS, 1)[0])


@pytest.mark.parametrize("older", [False, True], ids=["without-it", "its-older-vector"])
@pytest.mark.parametrize("victim", [0, 2])
def test_an_incomplete_product_is_the_same_fault_at_all(
    make_sums: MakeSums, victim: int, older: bool
) -> None:
    """Also at the bank whose part is not in it, and that it could tell: it does not."""
    sums = make_sums(3)
    sums.contribute(make_parts(3, 1))
    one = sums.contribute(make_parts(3, 2))
    vectors = list(one.payloads)
    if older:
        vectors[victim] = sums.sent[0][victim]
    else:
        del vectors[victim]
    texts = {str(outcome) for outcome in sums.open(multiply(vectors)).values()}
    (text,) = texts
    assert f": {SumFault.MASKS}: " in text


def test_a_multiple_of_the_sum_is_noise(make_sums: MakeSums) -> None:
    """Pairwise masks cancel in every multiple; a self mask comes off once."""
    sums = make_sums(3)
    found: list[int] = []
    for seed in range(20):
        one = sums.contribute(make_parts(3, seed))
        found += [
            value % sums.package.public_key.n for value in one.unmasked(scaled(one.product, 2))
        ]
        for outcome in sums.open(scaled(one.product, 2)).values():
            assert f": {SumFault.MASKS}: " in str(outcome)
    assert_uniform(found, sums.package.public_key.n)


def test_control_without_the_self_mask_a_multiple_of_the_sum_is_read(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    without_self_masks(monkeypatch)
    parts = [part // 2 for part in make_parts(3, 1)]
    one = make_sums(3).contribute(parts)
    values, _ = one.layout.split(one.unmasked(scaled(one.product, 2)))
    np.testing.assert_array_equal(values, 2 * np.sum(parts, axis=0))


# One context sealed twice


def differences(sums: AttackedSums) -> list[int]:
    """Have a machine that was set back seal other rows under the contexts it sealed under before.

    Return the differences that every holder of the Paillier key sees.
    """
    n, found = sums.package.public_key.n, []
    for seed in range(N_ROUNDS):
        one = sums.contribute(make_parts(N_BANKS, seed))
        other = make_parts(N_BANKS, seed + 100)[0]
        sealed = one.banks[0].seal(other, one.layout, one.contexts[0])
        again = CiphertextVector(sums.package.public_key, sealed.payload)
        before, after = (
            sums.package.private_key.decrypt(vector) for vector in (one.payloads[0], again)
        )
        found += [(a - b) % n for a, b in zip(after, before, strict=True)]
    return found


def test_a_context_sealed_twice_with_the_same_os_bytes_is_noise(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    without_the_record_of_contexts(monkeypatch)
    monkeypatch.setattr(self_masks, "secrets", SimpleNamespace(token_bytes=bytes))
    sums = make_sums(N_BANKS)
    assert_uniform(differences(sums), sums.package.public_key.n)


def test_control_a_seed_of_the_os_bytes_alone_shows_what_changed(
    make_sums: MakeSums, monkeypatch: Patch
) -> None:
    without_the_record_of_contexts(monkeypatch)
    monkeypatch.setattr("fraudfed.secure_sum.session.new_seed", lambda context, _: bytes(32))
    sums = make_sums(N_BANKS)
    found = differences(sums)
    assert_not_uniform(found, sums.package.public_key.n)
    first = sums.rounds[0].layout.n_plaintexts
    half = 1 << HEADER_BITS - 1
    # The tags differ, too, and round away.
    n = sums.package.public_key.n
    shown = [centred(plaintext, n) + half >> HEADER_BITS << HEADER_BITS for plaintext in found]
    values = Colluders(sums, HONEST).read(shown[:first])
    changed = make_parts(N_BANKS, 100)[0] - make_parts(N_BANKS, 0)[0]
    np.testing.assert_array_equal(values, changed)
