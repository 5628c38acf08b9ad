"""The private key: generation, noise and decryption modulo P^2 and Q^2.

Scheme of Ma, Han and Lei, "Optimized Paillier's Cryptosystem with Fast Encryption and
Decryption", ACSAC 2021::

    P = 2 p p' + 1,  Q = 2 q q' + 1,  N = P Q,  alpha = p q,  beta = p' q'
    h = -y^(2 beta) mod N,  hs = h^N mod N^2           (h has order 2 alpha)
    c = (1 + m N) hs^r mod N^2,  r of |alpha| bits
    m mod P = L_P(c^(2p) mod P^2) / L_P((1 + N)^(2p) mod P^2),  L_P(x) = (x - 1) / P

Law: ``decrypt(encrypt(m)) = m`` for every ``|m| <= (N - 1) / 2``, and every unit modulo N^2 -
also one whose noise was made by phe as r^N - decrypts to its one plaintext.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import CiphertextError, KeyMaterialError
from fraudfed.paillier.encryption import Encryptor
from fraudfed.paillier.kernel import FixedBase, Kernel, select_kernel
from fraudfed.paillier.keys import (
    DEFAULT_KEY_BITS,
    MAXIMUM_KEY_BITS,
    MINIMUM_KEY_BITS,
    PublicKey,
    noise_exponent_bits,
)
from fraudfed.paillier.noise import random_unit
from fraudfed.paillier.primes import is_certain_prime, structured_prime
from fraudfed.paillier.residues import Residue, from_digits, to_digits
from fraudfed.paillier.slices import over_threads
from fraudfed.paillier.vector import CiphertextVector

__all__ = ["KeyHolderNoise", "PrivateKey"]

T = TypeVar("T")

#: Keys this small are broken in seconds and serve tests only; below it a slot does not fit either.
_SMALLEST_TEST_KEY_BITS = 256
#: Ciphertexts that share a blind. They are opened in one go and only their common time shows, so
#: a blind each would hide no more; OpenSSL's RSA makes a new one as often (crypto/bn/bn_blind.c).
_BLINDED_TOGETHER = 32


@dataclass(frozen=True, eq=False, repr=False)
class _Half:
    """Everything needed modulo the square of one prime.

    Attributes
    ----------
    prime, square : mpz
        P and P^2.
    order : mpz or None
        2p, the order of hs modulo P^2; None for a plain Paillier key.
    exponent : mpz
        Decryption's exponent: 2p, or P - 1 for a plain key.
    cofactor : mpz
        ``(P - 1) / exponent``: what is missing to the full exponent.
    scale : mpz
        ``L_P((1 + N)^exponent mod P^2)^-1 mod P``.
    """

    prime: mpz
    square: mpz
    order: mpz | None
    exponent: mpz
    cofactor: mpz
    scale: mpz

    @classmethod
    def of(cls, prime: mpz, subgroup: mpz | None, modulus: mpz) -> "_Half":
        square = prime * prime
        order = None if subgroup is None else 2 * subgroup
        exponent = prime - 1 if order is None else order
        # (1 + N)^e = 1 + e N modulo P^2, hence L_P of it is e (N / P) modulo P.
        scale = gmpy2.invert(exponent * (modulus // prime), prime)
        return cls(prime, square, order, exponent, (prime - 1) // exponent, scale)


class PrivateKey:
    """A Paillier private key. Never printed, pickled, copied, compared or logged.

    Make one with ``generate``, ``from_primes`` or (plain Paillier) ``from_phe_primes``.
    """

    __slots__ = ("_halves", "_kernel", "_noise", "_prime_inverse", "_public")

    def __init__(
        self,
        public_key: PublicKey,
        primes: tuple[mpz, mpz],
        subgroups: tuple[mpz, mpz] | None,
        *,
        kernel: Kernel | None = None,
    ) -> None:
        first, second = primes
        orders = (None, None) if subgroups is None else subgroups
        self._public = public_key
        self._halves = (
            _Half.of(first, orders[0], public_key.modulus),
            _Half.of(second, orders[1], public_key.modulus),
        )
        self._prime_inverse = gmpy2.invert(first, second)
        self._kernel = select_kernel() if kernel is None else kernel
        self._noise: KeyHolderNoise | None = None

    @classmethod
    def generate(
        cls,
        key_bits: int = DEFAULT_KEY_BITS,
        *,
        alpha_bits: int | None = None,
        insecure_allow_small_key: bool = False,
    ) -> "PrivateKey":
        """Make a new key of the fast scheme.

        Parameters
        ----------
        key_bits : int
            Bits of N, even.
        alpha_bits : int, optional
            Bits of p and q together, even; the default fits the security of ``key_bits``.
        insecure_allow_small_key : bool
            Allow ``key_bits`` below 2048. For tests only.

        Raises
        ------
        KeyMaterialError
            If ``key_bits`` or ``alpha_bits`` is too small, too large or odd.
        """
        least = _SMALLEST_TEST_KEY_BITS if insecure_allow_small_key else MINIMUM_KEY_BITS
        if not least <= key_bits <= MAXIMUM_KEY_BITS or key_bits % 2:
            raise KeyMaterialError(
                f"key_bits is {key_bits}, expected an even number from {least} to "
                f"{MAXIMUM_KEY_BITS}; the default is {DEFAULT_KEY_BITS}"
            )
        least_alpha = noise_exponent_bits(key_bits)
        alpha_bits = least_alpha if alpha_bits is None else alpha_bits
        if not least_alpha <= alpha_bits <= key_bits // 2 or alpha_bits % 2:
            raise KeyMaterialError(
                f"alpha_bits is {alpha_bits}, expected an even number from {least_alpha} to "
                f"{key_bits // 2} for a {key_bits}-bit key; leave it out"
            )
        while True:
            first, p = structured_prime(key_bits // 2, alpha_bits // 2)
            second, q = structured_prime(key_bits // 2, alpha_bits // 2)
            # Near primes are found by Fermat's method: FIPS 186-5, A.1.3 step 5.4.
            if abs(first - second).bit_length() > key_bits // 2 - min(100, key_bits // 8):
                break
        modulus = first * second
        beta = (first - 1) * (second - 1) // (4 * p * q)
        while True:
            root = gmpy2.powmod(random_unit(modulus), 2 * beta, modulus)
            # Order p modulo P and q modulo Q; it is 1 with probability 1/p only.
            if root % first != 1 and root % second != 1:
                break
        hs = gmpy2.powmod(modulus - root, modulus, modulus * modulus)
        return cls.from_primes(
            first,
            second,
            p=p,
            q=q,
            hs=hs,
            alpha_bits=alpha_bits,
            insecure_allow_small_key=insecure_allow_small_key,
        )

    @classmethod
    def from_primes(
        cls,
        prime_p: int,
        prime_q: int,
        *,
        p: int,
        q: int,
        hs: int,
        alpha_bits: int,
        insecure_allow_small_key: bool = False,
    ) -> "PrivateKey":
        """Rebuild a key of the fast scheme from its parts and check all that the scheme needs.

        Raises
        ------
        KeyMaterialError
            If P or Q does not have the form 2 p p' + 1, anything that must be prime is not, two
            of the primes are equal, or hs does not have order 2 p q.
        """
        public_key = PublicKey(
            prime_p * prime_q,
            int(hs),
            alpha_bits,
            insecure_allow_small_key=insecure_allow_small_key,
        )
        first, second, p, q, hs = mpz(prime_p), mpz(prime_q), mpz(p), mpz(q), mpz(hs)
        _check_structure(first, second, p, q, public_key)
        for prime, order in ((first, 2 * p), (second, 2 * q)):
            square = prime * prime
            # Order divides 2p, and neither 2 nor p: otherwise decryption with exponent 2p is
            # wrong, or the noise hides nothing.
            if (
                gmpy2.powmod(hs, order, square) != 1
                or gmpy2.powmod(hs, 2, square) == 1
                or gmpy2.powmod(hs, order // 2, square) == 1
            ):
                raise KeyMaterialError(
                    "hs of the private key does not have order 2pq; the key is damaged, "
                    "take another copy"
                )
        return cls(public_key, (first, second), (p, q))

    @classmethod
    def from_phe_primes(
        cls, prime_p: int, prime_q: int, *, insecure_allow_small_key: bool = False
    ) -> "PrivateKey":
        """Make a plain Paillier key (no fast noise) from the primes of a ``phe`` key.

        Raises
        ------
        KeyMaterialError
            If they are not two distinct primes with ``gcd(N, (P - 1) (Q - 1)) = 1``.
        """
        public_key = PublicKey(prime_p * prime_q, insecure_allow_small_key=insecure_allow_small_key)
        first, second = mpz(prime_p), mpz(prime_q)
        if (
            first == second
            or not is_certain_prime(first)
            or not is_certain_prime(second)
            or gmpy2.gcd(first * second, (first - 1) * (second - 1)) != 1
        ):
            raise KeyMaterialError(
                "the two factors of a plain Paillier key are not distinct primes of like size; "
                "the key is damaged"
            )
        return cls(public_key, (first, second), None)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._public

    @property
    def is_fast(self) -> bool:
        """False for a plain Paillier key."""
        return self._public.hs is not None

    def __repr__(self) -> str:
        return f"<PrivateKey {self._public.fingerprint[:16]}..., {self._public.key_bits} bits>"

    def __reduce__(self) -> str:
        raise TypeError("a private key cannot be pickled or copied; save the key package instead")

    def __getstate__(self) -> object:
        raise TypeError("a private key cannot be pickled or copied; save the key package instead")

    def expose_secret_parts(self) -> dict[str, int]:
        """Return P, Q and (fast scheme) p, q: for writing the key file, and for oracles in tests.

        The one way in which secret numbers leave this object; search for its name to find all uses.
        """
        first, second = self._halves
        parts = {"P": int(first.prime), "Q": int(second.prime)}
        if first.order is not None and second.order is not None:
            parts |= {"p": int(first.order // 2), "q": int(second.order // 2)}
        return parts

    def noise_source(self) -> "KeyHolderNoise":
        """Return this key's source of noise; its tables are made on first use and shared."""
        if self._noise is None:
            self._noise = KeyHolderNoise(self._public, self._halves, self._kernel)
        return self._noise

    def encryptor(self, *, threads: int = 1) -> Encryptor:
        """Return an encryptor that computes its noise modulo P^2 and Q^2."""
        return Encryptor(self._public, self.noise_source(), threads=threads)

    def decrypt(self, ciphertexts: CiphertextVector, *, threads: int = 1) -> list[int]:
        """Return the signed plaintexts, each in ``-(N - 1) / 2 .. (N - 1) / 2``.

        Each ciphertext is multiplied by fresh noise first, one value for every
        ``_BLINDED_TOGETHER`` of a call: the aggregator, which chooses the ciphertexts and sees how
        long the answer takes, then knows none of the numbers that the secret exponent is applied
        to (blinding; Kocher, CRYPTO '96, section 10). A plain Paillier key is not blinded, for its
        noise costs as much as the decryption.

        Raises
        ------
        CiphertextError
            If they are under another key, or one of them is no unit modulo N^2.
        """
        if ciphertexts.public_key != self._public:
            raise CiphertextError(
                f"ciphertexts are under key {ciphertexts.public_key.fingerprint[:16]}..., this "
                f"private key is {self._public.fingerprint[:16]}...; use the consortium's key"
            )
        values = ciphertexts.integers()
        exponents = None
        if self.is_fast:
            n_blinds = -(-len(values) // _BLINDED_TOGETHER)
            exponents = self.noise_source().random_exponents(n_blinds)
        at_p, at_q = _both_sides(
            lambda side, share: self._residues(side, values, exponents, threads=share),
            threads=threads,
        )
        modulus_squared = self._public.modulus_squared
        if at_p is None or at_q is None or any(value >= modulus_squared for value in values):
            ciphertexts.check()  # names the one at fault
            raise CiphertextError("a ciphertext is no invertible residue; it is malformed")
        n, half = self._public.modulus, self._public.modulus // 2
        first, second = self._halves[0].prime, self._halves[1].prime
        plaintexts = []
        for low, other in zip(at_p, at_q, strict=True):
            plaintext = low + first * ((other - low) * self._prime_inverse % second)
            plaintexts.append(int(plaintext - n if plaintext > half else plaintext))
        return plaintexts

    def _residues(
        self,
        side: int,
        values: Sequence[mpz],
        exponents: Sequence[int] | None,
        *,
        threads: int,
    ) -> list[mpz] | None:
        """Return the plaintexts modulo P (``side`` 0) or Q (``side`` 1); None if one is no unit."""
        half = self._halves[side]
        bases = [value % half.square for value in values]
        if exponents is not None:
            blinds = from_digits(self.noise_source().half_powers(side, exponents), half.prime)
            bases = [base * blinds[index // _BLINDED_TOGETHER] for index, base in enumerate(bases)]
        residues = to_digits(bases, half.prime)
        if any(low == 0 for low, _ in residues):
            return None
        powers = self._kernel.common_exponent(residues, half.exponent, half.prime, threads=threads)
        # Without noise, the low digit is 1 and L_P is the high one. Noise of the fast scheme is
        # gone now. Noise of another maker (phe's r^N) has an order that divides P - 1 only, and
        # takes the rest of the exponent.
        foreign = [index for index, (low, _) in enumerate(powers) if low != 1]
        plaintexts = [high * half.scale % half.prime for _, high in powers]
        if foreign:
            rest = self._kernel.common_exponent(
                [powers[index] for index in foreign], half.cofactor, half.prime, threads=threads
            )
            full_scale = half.scale * gmpy2.invert(half.cofactor, half.prime) % half.prime
            for index, (_, high) in zip(foreign, rest, strict=True):
                plaintexts[index] = high * full_scale % half.prime
        return plaintexts


class KeyHolderNoise:
    """Noise computed modulo P^2 and Q^2 by who knows the factors: a quarter of the time.

    Gives exactly the residues that ``PublicNoise`` would give for the same exponents.
    """

    __slots__ = ("_halves", "_inverses", "_kernel", "_powers", "_public_key")

    def __init__(self, public_key: PublicKey, halves: tuple[_Half, _Half], kernel: Kernel) -> None:
        self._public_key = public_key
        self._halves = halves
        self._kernel = kernel
        first, second = (half.prime for half in halves)
        #: Of P modulo Q, and of Q modulo P.
        self._inverses = gmpy2.invert(first, second), gmpy2.invert(second, first)
        self._powers: tuple[FixedBase, ...] = ()
        if public_key.hs is not None:
            # Exponents are reduced modulo the order 2p, half as long as alpha.
            self._powers = tuple(
                kernel.fixed_base(
                    mpz(public_key.hs) % half.square,
                    half.prime,
                    exponent_bits=int(half.exponent).bit_length(),
                )
                for half in halves
            )

    def __repr__(self) -> str:
        return f"<KeyHolderNoise of {self._public_key.fingerprint[:16]}...>"

    def __reduce__(self) -> str:
        raise TypeError("a key holder's noise source holds the private key; it cannot be pickled")

    def fresh(self, count: int, *, threads: int = 1) -> list[Residue]:
        """Return ``count`` new random N-th residues, as digits to the base N."""
        if self._powers:
            return self.powers(self.random_exponents(count), threads=threads)
        units = [random_unit(self._public_key.modulus) for _ in range(count)]

        def residues(side: int, share: int) -> list[Residue]:
            half = self._halves[side]
            return self._kernel.common_exponent(
                to_digits(units, half.prime),
                # The units modulo P^2 have order P (P - 1).
                self._public_key.modulus % (half.square - half.prime),
                half.prime,
                threads=share,
            )

        return self._join(_both_sides(residues, threads=threads))

    def random_exponents(self, count: int) -> list[int]:
        """Return ``count`` exponents r, uniform of |alpha| bits."""
        bits = self._public_key.alpha_bits
        if bits is None:
            raise KeyMaterialError("a plain Paillier key has no exponents; make a fraudfed key")
        return [secrets.randbits(bits) for _ in range(count)]

    def half_powers(
        self, side: int, exponents: Sequence[int], *, threads: int = 1
    ) -> list[Residue]:
        """Return ``hs^r`` modulo P^2 (``side`` 0) or Q^2 (``side`` 1), as digits."""
        order = int(self._halves[side].exponent)
        return self._powers[side].powers(
            [exponent % order for exponent in exponents], threads=threads
        )

    def powers(self, exponents: Sequence[int], *, threads: int = 1) -> list[Residue]:
        """Return ``hs^r mod N^2`` for each r, as digits to the base N."""
        return self._join(
            _both_sides(
                lambda side, share: self.half_powers(side, exponents, threads=share),
                threads=threads,
            )
        )

    def _join(self, sides: Sequence[Sequence[Residue]]) -> list[Residue]:
        """Chinese remainder theorem, digit by digit (Garner's form).

        Of ``x = a + b P`` modulo P^2 and ``x = c + d Q`` modulo Q^2 the low digit to the base N is
        ``low = a + s P = c + t Q``. For the high digit y, ``low + y N = a + b P`` modulo P^2 says
        ``y Q = b - s`` modulo P, and likewise ``y P = d - t`` modulo Q.
        """
        p, q = self._halves[0].prime, self._halves[1].prime
        p_inverse, q_inverse = self._inverses
        joined = []
        for (a, b), (c, d) in zip(*sides, strict=True):
            s = (c - a) * p_inverse % q
            low = a + s * p
            at_p = (b - s) * q_inverse % p
            at_q = (d - (low - c) // q) * p_inverse % q
            joined.append((low, at_p + p * ((at_q - at_p) * p_inverse % q)))
        return joined


def _both_sides(work: Callable[[int, int], T], *, threads: int) -> list[T]:
    """Return ``work(side, threads for it)`` modulo P^2 and modulo Q^2, at the same time."""
    # One thread for each side wastes fewer lanes of a kernel than two threads for one side.
    share = max(1, threads // 2)
    return over_threads(
        lambda sides: [work(side, share) for side in sides], (0, 1), threads=min(threads, 2)
    )


def _check_structure(first: mpz, second: mpz, p: mpz, q: mpz, public_key: PublicKey) -> None:
    """Check the requirements of the scheme on the primes."""
    faults = []
    cofactors = []
    for name, prime, subgroup in (("P", first, p), ("Q", second, q)):
        if prime.bit_length() != public_key.key_bits // 2 or not is_certain_prime(prime):
            faults.append(f"{name} is no prime of half the key's bits")
        if (prime - 1) % (2 * subgroup):
            faults.append(f"{name} - 1 is no multiple of 2 {name.lower()}")
        cofactors.append((prime - 1) // (2 * subgroup))
    alpha_bits = public_key.alpha_bits or 0
    if any(2 * subgroup.bit_length() != alpha_bits for subgroup in (p, q)):
        faults.append("p or q does not have half of alpha's bits")
    if not all(is_certain_prime(factor) for factor in (p, q, *cofactors)):
        faults.append("p, q, p' or q' is not prime")
    if len({p, q, *cofactors}) != 4:
        faults.append("p, q, p' and q' are not distinct")
    if gmpy2.gcd(first - 1, second - 1) != 2:
        faults.append("gcd(P - 1, Q - 1) is not 2")
    if gmpy2.gcd(public_key.modulus, (first - 1) * (second - 1)) != 1:
        faults.append("gcd(N, (P - 1)(Q - 1)) is not 1")
    if faults:
        raise KeyMaterialError(
            f"private key does not meet the fast Paillier scheme: {faults[0]}; the key is "
            "damaged, take another copy"
        )
