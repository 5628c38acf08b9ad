"""Primes P = 2 p p' + 1 with p and p' prime, from the operating system's randomness."""

import math
import secrets
from functools import cache

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

#: GMP's test with 64 repetitions: Baillie-PSW, then 40 rounds of Miller-Rabin with random bases.
#: Each round passes a composite with probability at most 1/4 (Rabin 1980), so 4^-40 = 2^-80 in the
#: worst case; for random candidates of our sizes FIPS 186-5, table B.1, is content with 4 to 5
#: rounds (2^-112 and less) for P and Q, and with 27 to 41 rounds for p and q.
_REPETITIONS = 64

#: Candidates are sieved by all odd primes below this; the rest of them is 7 times likelier prime.
_SIEVE_LIMIT = 1 << 15
#: Odd candidates p looked at from one random start; P is found among about 40,000 of them.
_WINDOW = 1 << 17


def is_certain_prime(candidate: mpz) -> bool:
    """Tell whether ``candidate`` is prime, wrong with probability below 2^-80."""
    return bool(gmpy2.is_prime(candidate, _REPETITIONS))


def structured_prime(prime_bits: int, subgroup_bits: int) -> tuple[mpz, mpz]:
    """Return primes ``(P, p)`` with ``P = 2 p p' + 1`` and p' prime.

    P lies in ``[sqrt(2) * 2^(prime_bits-1), 2^prime_bits)``, so the product of two such primes has
    exactly ``2 * prime_bits`` bits (FIPS 186-5, A.1.3); p has exactly ``subgroup_bits`` bits.

    p' is drawn first and p is looked for, not the other way round: a primality test of the short p
    costs a hundredth of one of the long p'.
    """
    lowest = mpz(math.isqrt(1 << (2 * prime_bits - 1))) + 1
    highest = mpz(1) << prime_bits
    while True:
        start = mpz(secrets.randbits(subgroup_bits) | (1 << (subgroup_bits - 1)) | 1)
        last = start + 2 * (_WINDOW - 1)
        if last.bit_length() > subgroup_bits:
            continue
        # Every p of the window must give a P of the right size with this p'.
        least, bound = lowest // (2 * start) + 1, (highest - 2) // (2 * last)
        cofactor = gmpy2.next_prime(least + secrets.randbelow(int(bound - least)))
        if cofactor > bound or not is_certain_prime(cofactor):
            continue
        for offset in _sieve(start, cofactor):
            p = start + 2 * int(offset)
            if not gmpy2.is_strong_prp(p, 2):
                continue
            prime = 2 * p * cofactor + 1
            if (
                gmpy2.is_strong_prp(prime, 2)
                and is_certain_prime(p)
                and p != cofactor
                and is_certain_prime(prime)
            ):
                return prime, p


@cache
def _small_primes() -> npt.NDArray[np.int64]:
    """Odd primes below the sieve limit."""
    is_prime = np.ones(_SIEVE_LIMIT, dtype=np.bool_)
    is_prime[:2] = False
    for number in range(2, math.isqrt(_SIEVE_LIMIT) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = False
    return np.flatnonzero(is_prime)[1:].astype(np.int64)


def _sieve(start: mpz, cofactor: mpz) -> npt.NDArray[np.int64]:
    """Return the k for which neither p = start + 2k nor 2 p cofactor + 1 has a small factor."""
    survivors = np.ones(_WINDOW, dtype=np.bool_)
    for small in _small_primes().tolist():
        half = (small + 1) // 2  # the inverse of 2
        from_start = int(start % small)
        # start + 2k = 0  <=>  k = -start / 2
        survivors[-from_start * half % small :: small] = False
        from_cofactor = int(cofactor % small)
        if from_cofactor:
            # 2 (start + 2k) cofactor + 1 = 0  <=>  k = (-1 / (2 cofactor) - start) / 2
            p = -pow(2 * from_cofactor, -1, small) % small
            survivors[(p - from_start) * half % small :: small] = False
    return np.flatnonzero(survivors).astype(np.int64)
