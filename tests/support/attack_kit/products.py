"""What a malicious aggregator can make of the contributions of a round.

Each attack is a function of everything that was ever sent: the rounds, each one vector of
ciphertexts per bank, the last round being the present one. It returns the "product" that the banks
are told. The same functions attack sessions in one process and banks behind a tampering server.
"""

import secrets
from collections.abc import Callable, Sequence

import gmpy2
from cohorts.secure import multiply
from gmpy2 import mpz

from attack_kit.ciphertexts import COUNT_ONE, added, exchanged, scaled
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.header import HEADER_BITS, MAXIMUM_BANKS, join_header
from fraudfed.secure_sum.tags import TAG_PRIME

#: Rounds in order; each the contributions of the banks, in the roster's order.
Rounds = Sequence[Sequence[CiphertextVector]]
Attack = Callable[[PublicKey, Rounds], CiphertextVector]


def encrypt_publicly(key: PublicKey, plaintext: int) -> mpz:
    """Encrypt with the public key alone, as anyone can."""
    n, squared = key.modulus, key.modulus_squared
    noise = gmpy2.powmod(mpz(secrets.randbelow(key.n - 2) + 1), n, squared)
    return (1 + plaintext % n * n) * noise % squared


def _with(vector: CiphertextVector, index: int, value: mpz) -> CiphertextVector:
    values = vector.integers()
    values[index] = value % vector.public_key.modulus_squared
    return CiphertextVector.of_integers(vector.public_key, values)


def _add(vector: CiphertextVector, plaintext: int) -> CiphertextVector:
    """Add a known plaintext to the first ciphertext."""
    return added(vector, [plaintext] + [0] * (len(vector) - 1))


def honest(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Multiply everything, once."""
    return multiply(rounds[-1])


def alter_a_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Put a random number in the place of one bank's first ciphertext."""
    first, *others = rounds[-1]
    return multiply([_with(first, 0, encrypt_publicly(key, secrets.randbelow(key.n))), *others])


def alter_the_sum(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Put the encryption of a small, plausible number in the place of a sum."""
    forged = (5 << HEADER_BITS) + join_header(0, count=len(rounds[-1]))
    return _with(honest(key, rounds), 0, encrypt_publicly(key, forged))


def scale_the_sum(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Double everything."""
    return scaled(honest(key, rounds), 2)


def _add_to_counts(vector: CiphertextVector, count: int) -> CiphertextVector:
    return added(vector, [count * COUNT_ONE] * len(vector))


def scale_and_patch_the_count(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Double everything, and subtract the banks that are too many."""
    return _add_to_counts(scale_the_sum(key, rounds), -len(rounds[-1]))


def negate_and_patch_the_count(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Turn every sign, and add the banks that are missing."""
    patched = _add_to_counts(negate_the_sum(key, rounds), 2 * len(rounds[-1]))
    # A multiple of the tag's modulus, so that the negative tag borrows nothing from the count.
    return added(patched, [TAG_PRIME * MAXIMUM_BANKS] * len(patched))


def negate_the_sum(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Turn every sign."""
    return scaled(honest(key, rounds), -1)


def swap_plaintexts(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Exchange two ciphertexts of the sum; both are full, so their shape betrays nothing."""
    return exchanged(honest(key, rounds), 0, 1)


def swap_within_a_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Exchange two ciphertexts of one bank."""
    first, *others = rounds[-1]
    return multiply([swap_plaintexts(key, [[first]]), *others])


def replay_a_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Use one bank's contribution of the round before."""
    return multiply([rounds[-2][0], *rounds[-1][1:]])


def replay_the_sum(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Use the sum of the round before."""
    return multiply(rounds[-2])


def drop_a_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Leave one bank out."""
    return multiply(rounds[-1][1:])


def drop_and_patch_the_count(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Leave one bank out, and add 1 to the count."""
    return _add_to_counts(drop_a_contribution(key, rounds), 1)


def duplicate_a_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Count one bank twice."""
    return multiply([*rounds[-1], rounds[-1][0]])


def exchange_a_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Leave one bank out and count another twice: the number of banks stays right."""
    return multiply([*rounds[-1][1:], rounds[-1][1]])


def show_one_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Have the banks decrypt one bank's contribution alone."""
    return rounds[-1][0]


def add_a_known_plaintext(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Add 1 to the first value of the sum."""
    return _add(honest(key, rounds), 1 << HEADER_BITS)


def add_to_a_contribution(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Add 1 to the first value of one bank; masks let every addition through."""
    first, *others = rounds[-1]
    return multiply([_add(first, 1 << HEADER_BITS), *others])


def add_to_the_tag(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Add 1 to the first tag."""
    return _add(honest(key, rounds), 1)


def add_to_the_count(key: PublicKey, rounds: Rounds) -> CiphertextVector:
    """Pretend that one bank more took part."""
    return _add_to_counts(honest(key, rounds), 1)


#: Every attack on the product of a round that every bank must notice.
ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        alter_a_contribution,
        alter_the_sum,
        scale_the_sum,
        scale_and_patch_the_count,
        negate_the_sum,
        negate_and_patch_the_count,
        swap_plaintexts,
        swap_within_a_contribution,
        replay_a_contribution,
        replay_the_sum,
        drop_a_contribution,
        drop_and_patch_the_count,
        duplicate_a_contribution,
        exchange_a_contribution,
        show_one_contribution,
        add_a_known_plaintext,
        add_to_a_contribution,
        add_to_the_tag,
        add_to_the_count,
    )
}
