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

from collections.abc import Sequence

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import CiphertextError, KeyMaterialError
from fraudfed.paillier.encryption import Encryptor
from fraudfed.paillier.halves import Half, both_sides
from fraudfed.paillier.kernels.kernel import Kernel, select_kernel
from fraudfed.paillier.kernels.residues import from_digits, to_digits
from fraudfed.paillier.key_holder_noise import KeyHolderNoise
from fraudfed.paillier.keys import (
    DEFAULT_KEY_BITS,
    MAXIMUM_KEY_BITS,
    MINIMUM_KEY_BITS,
    PublicKey,
    noise_exponent_bits,
)
from fraudfed.paillier.noise import random_unit
from fraudfed.paillier.primes import is_certain_prime, structured_prime
from fraudfed.paillier.vector import CiphertextVector

#: Keys this small are broken in seconds and serve tests only; below it a slot does not fit either.
_SMALLEST_TEST_KEY_BITS = 256
#: Ciphertexts that share a blind. They are opened in one go and only their common time shows, so
#: a blind each would hide no more; OpenSSL's RSA makes a new one as often (crypto/bn/bn_blind.c).
_BLINDED_TOGETHER = 32


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
            Half.of(first, orders[0], public_key.modulus),
            Half.of(second, orders[1], public_key.modulus),
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
            If a number is too large or of another size than the key's, P or Q does not have the
            form 2 p p' + 1, anything that must be prime is not, two of the primes are equal, or hs
            does not have order 2 p q. The text quotes no number.
        """
        _check_sizes(prime_p, prime_q, p=p, q=q, hs=hs, alpha_bits=alpha_bits)
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
            If they are not two distinct primes of one size with ``gcd(N, (P - 1) (Q - 1)) = 1``.
        """
        _check_primes(prime_p, prime_q)
        public_key = PublicKey(prime_p * prime_q, insecure_allow_small_key=insecure_allow_small_key)
        first, second = mpz(prime_p), mpz(prime_q)
        if (
            not is_certain_prime(first)
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

    def noise_source(self) -> KeyHolderNoise:
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
        n, half = self._public.n, self._public.n // 2
        plaintexts = self._opened_by_kernel(ciphertexts, threads=threads)
        if plaintexts is None:
            plaintexts = self._opened(ciphertexts, threads=threads)
        return [plaintext - n if plaintext > half else plaintext for plaintext in plaintexts]

    def _opened_by_kernel(self, ciphertexts: CiphertextVector, *, threads: int) -> list[int] | None:
        """Return the plaintexts in ``[0, N)``; None if compiled code has not or cannot do it."""
        native = self.noise_source().native
        if native is None:
            return None
        width, data = self._public.ciphertext_bytes, ciphertexts.data
        limit = self._public.n_squared.to_bytes(width, "big")
        if any(data[start : start + width] >= limit for start in range(0, len(data), width)):
            return None
        return native.open(data, width=width, together=_BLINDED_TOGETHER, threads=threads)

    def _opened(self, ciphertexts: CiphertextVector, *, threads: int) -> list[int]:
        """Return the plaintexts in ``[0, N)`` of any ciphertexts; refuse what is none."""
        values = ciphertexts.integers()
        self._require_units(ciphertexts, values)
        exponents = None
        if self.is_fast:
            n_blinds = -(-len(values) // _BLINDED_TOGETHER)
            exponents = self.noise_source().random_exponents(n_blinds)
        at_p, at_q = both_sides(
            lambda side, share: self._residues(side, values, exponents, threads=share),
            threads=threads,
        )
        first, second = self._halves[0].prime, self._halves[1].prime
        return [
            int(low + first * ((other - low) * self._prime_inverse % second))
            for low, other in zip(at_p, at_q, strict=True)
        ]

    def _require_units(self, ciphertexts: CiphertextVector, values: Sequence[mpz]) -> None:
        """Refuse what is no invertible residue: a power of it would show a factor of N."""
        modulus_squared = self._public.modulus_squared
        if any(
            value >= modulus_squared or any(value % half.prime == 0 for half in self._halves)
            for value in values
        ):
            ciphertexts.check()  # names the one at fault
            raise CiphertextError("a ciphertext is no invertible residue; it is malformed")

    def _residues(
        self,
        side: int,
        values: Sequence[mpz],
        exponents: Sequence[int] | None,
        *,
        threads: int,
    ) -> list[mpz]:
        """Return the plaintexts modulo P (``side`` 0) or Q (``side`` 1) of units."""
        half = self._halves[side]
        bases = [value % half.square for value in values]
        if exponents is not None:
            blinds = from_digits(self.noise_source().half_powers(side, exponents), half.prime)
            bases = [base * blinds[index // _BLINDED_TOGETHER] for index, base in enumerate(bases)]
        residues = to_digits(bases, half.prime)
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


def _check_primes(first: int, second: int) -> None:
    """Check what can be told of P and Q at a glance, before anything is computed with them.

    A test of primality takes time that grows with the cube of a number's size, and cannot be
    interrupted: a number that is as large as its sender likes stops the program.
    """
    most = MAXIMUM_KEY_BITS // 2
    if min(first, second) <= 2 or first.bit_length() > most or second.bit_length() > most:
        raise _malformed(f"P or Q is not from 3 to 2^{most}")
    if first.bit_length() != second.bit_length() or first == second:
        raise _malformed("P and Q are not distinct primes of one size")
    if first % 2 == 0 or second % 2 == 0:
        raise _malformed("P or Q is even")


def _check_sizes(first: int, second: int, *, p: int, q: int, hs: int, alpha_bits: int) -> None:
    """Check types, signs, sizes and parity of all parts, before anything is computed with them."""
    if any(isinstance(part, (bool, float, str)) for part in (first, second, p, q, hs, alpha_bits)):
        raise _malformed("a part is no integer")
    _check_primes(first, second)
    key_bits = 2 * first.bit_length()
    if not 0 < alpha_bits <= key_bits // 2 or alpha_bits % 2:
        raise _malformed("alpha does not have an even number of bits, up to half of the key's")
    if min(p, q) <= 2 or any(2 * order.bit_length() != alpha_bits for order in (p, q)):
        raise _malformed("p or q does not have half of alpha's bits")
    if p % 2 == 0 or q % 2 == 0:
        raise _malformed("p or q is even")
    if p == q:
        raise _malformed("p, q, p' and q' are not distinct")
    if hs <= 1 or hs.bit_length() > 2 * key_bits:
        raise _malformed("hs is not between 1 and N^2")


def _check_structure(first: mpz, second: mpz, p: mpz, q: mpz, public_key: PublicKey) -> None:
    """Check the requirements of the scheme on the primes, the cheap ones first."""
    if first.bit_length() != public_key.key_bits // 2:
        raise _malformed("P or Q does not have half of the key's bits")
    for name, prime, subgroup in (("P", first, p), ("Q", second, q)):
        if (prime - 1) % (2 * subgroup):
            raise _malformed(f"{name} - 1 is no multiple of 2 {name.lower()}")
    cofactors = [(first - 1) // (2 * p), (second - 1) // (2 * q)]
    if len({p, q, *cofactors}) != 4:
        raise _malformed("p, q, p' and q' are not distinct")
    if gmpy2.gcd(first - 1, second - 1) != 2:
        raise _malformed("gcd(P - 1, Q - 1) is not 2")
    if gmpy2.gcd(public_key.modulus, (first - 1) * (second - 1)) != 1:
        raise _malformed("gcd(N, (P - 1)(Q - 1)) is not 1")
    if not all(is_certain_prime(factor) for factor in (p, q, *cofactors)):
        raise _malformed("p, q, p' or q' is not prime")
    if not (is_certain_prime(first) and is_certain_prime(second)):
        raise _malformed("P or Q is not prime")


def _malformed(reason: str) -> KeyMaterialError:
    return KeyMaterialError(
        f"private key does not meet the Paillier scheme: {reason}; the key is damaged, take "
        "another copy"
    )
