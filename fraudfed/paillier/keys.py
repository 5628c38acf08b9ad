"""The public key: a modulus, and for the fast scheme the base of its noise."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import KeyMaterialError

#: 128-bit security for factoring (NIST SP 800-57 part 1 rev. 5, table 2); also phe's default.
DEFAULT_KEY_BITS = 3072
#: 112-bit security in the same table, the least that NIST still allows.
MINIMUM_KEY_BITS = 2048
#: Nobody needs more, and a key announced by a peer must not make us compute for hours.
MAXIMUM_KEY_BITS = 8192

#: Security level of a modulus -> bits of alpha = p * q: four times the level, because a subgroup
#: whose order has a prime factor p betrays the factorisation in about sqrt(p) steps (Coron, Joux,
#: Mandal, Naccache, Tibouchi, "Cryptanalysis of the RSA Subgroup Assumption from TCC 2005",
#: PKC 2011). Levels: NIST SP 800-57 part 1 rev. 5, table 2 (112, 128, 192 bits).
#: 4096 bits is rated between 140 and 152 bits; 640 = 4 * 160 covers both.
_ALPHA_BITS = ((7680, 768), (4096, 640), (3072, 512), (2048, 448))

_FINGERPRINT_DOMAIN = b"fraudfed paillier public key v1\0"


def noise_exponent_bits(key_bits: int) -> int:
    """Return |alpha|, the bits of the fast scheme's exponent, for a modulus of ``key_bits``.

    Below ``MINIMUM_KEY_BITS`` (tests only) it is a quarter of the key, which is secure for nothing.
    """
    for least_key_bits, alpha_bits in _ALPHA_BITS:
        if key_bits >= least_key_bits:
            return alpha_bits
    return max(64, key_bits // 4 // 2 * 2)


@dataclass(frozen=True)
class PublicKey:
    """What encrypts and multiplies, and may be known to anybody.

    Two keys are equal when ``n``, ``hs`` and ``alpha_bits`` are.

    Attributes
    ----------
    n : int
        The modulus N = P * Q.
    hs : int or None
        ``h^N mod N^2``, base of the noise in the fast scheme (Ma, Han, Lei, ACSAC 2021);
        None for a plain Paillier key, whose noise is ``r^N``.
    alpha_bits : int or None
        Bits of the exponent of ``hs``; None exactly when ``hs`` is None.
    insecure_allow_small_key : bool
        Accept a modulus below ``MINIMUM_KEY_BITS``. For tests only.

    Raises
    ------
    KeyMaterialError
        If the key is too small or cannot be a Paillier key.
    """

    n: int = field(repr=False)
    hs: int | None = field(default=None, repr=False)
    alpha_bits: int | None = None
    insecure_allow_small_key: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", int(self.n))
        if self.hs is not None:
            object.__setattr__(self, "hs", int(self.hs))
        if not self.insecure_allow_small_key and self.key_bits < MINIMUM_KEY_BITS:
            raise KeyMaterialError(
                f"Paillier modulus has {self.key_bits} bits, expected at least "
                f"{MINIMUM_KEY_BITS}; make a new key with the default of {DEFAULT_KEY_BITS}"
            )
        if self.key_bits > MAXIMUM_KEY_BITS:
            raise KeyMaterialError(
                f"Paillier modulus has {self.key_bits} bits, expected at most "
                f"{MAXIMUM_KEY_BITS}; this key was not made by fraudfed"
            )
        if self.n % 2 == 0 or self.n < 15:
            raise KeyMaterialError(
                "Paillier modulus is even or tiny, expected a product of two odd primes; "
                "the key is damaged"
            )
        if (self.hs is None) != (self.alpha_bits is None):
            raise KeyMaterialError(
                "Paillier public key holds only one of hs and alpha_bits, expected both (fast "
                "scheme) or none (plain Paillier); the key is damaged"
            )
        if self.hs is not None and self.alpha_bits is not None:
            self._check_noise_base(self.hs, self.alpha_bits)

    def _check_noise_base(self, hs: int, alpha_bits: int) -> None:
        least = noise_exponent_bits(self.key_bits)
        if alpha_bits < least or alpha_bits >= self.key_bits:
            raise KeyMaterialError(
                f"alpha_bits is {alpha_bits}, expected at least {least} (and fewer than the key) "
                f"for a modulus of {self.key_bits} bits; make a new key"
            )
        # hs = +-1 would be no noise at all: every ciphertext would show its plaintext.
        if not 1 < hs < self.n_squared - 1 or gmpy2.gcd(hs, self.n) != 1:
            raise KeyMaterialError(
                "hs is not an invertible residue between 1 and N^2 - 1; the public key is damaged"
            )

    @cached_property
    def n_squared(self) -> int:
        """N^2, the modulus of ciphertexts."""
        return self.n * self.n

    @cached_property
    def modulus(self) -> mpz:
        """``n`` as a GMP integer."""
        return mpz(self.n)

    @cached_property
    def modulus_squared(self) -> mpz:
        """``n_squared`` as a GMP integer."""
        return mpz(self.n_squared)

    @property
    def key_bits(self) -> int:
        """Bits of the modulus."""
        return self.n.bit_length()

    @property
    def ciphertext_bytes(self) -> int:
        """Width of one ciphertext on the wire: the bytes of N^2."""
        return (self.n_squared.bit_length() + 7) // 8

    @property
    def plaintext_bytes(self) -> int:
        """Width of one opened plaintext: the bytes of N."""
        return (self.key_bits + 7) // 8

    @property
    def plaintext_bits(self) -> int:
        """Bits that a packed plaintext may fill.

        Signed digits over T - 1 bits stay below ``2^(T-1)`` in absolute value. N is at least
        ``2^(key_bits-1)``, so with ``T = key_bits - 2`` every sum stays below ``N / 4``: it cannot
        wrap around, and one bit is to spare.
        """
        return self.key_bits - 2

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the key's canonical bytes, lower-case hexadecimal."""
        digest = hashlib.sha256(_FINGERPRINT_DOMAIN)
        for value in (self.n, self.hs or 0, self.alpha_bits or 0):
            data = value.to_bytes((value.bit_length() + 7) // 8, "big")
            digest.update(len(data).to_bytes(4, "big"))
            digest.update(data)
        return digest.hexdigest()

    def to_hex(self) -> dict[str, str | int | None]:
        """Return ``n``, ``hs`` (hexadecimal), ``alpha_bits`` and ``fingerprint`` for a message."""
        return {
            "n": format(self.n, "x"),
            "hs": None if self.hs is None else format(self.hs, "x"),
            "alpha_bits": self.alpha_bits,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_hex(
        cls,
        fields: Mapping[str, str | int | None],
        *,
        insecure_allow_small_key: bool = False,
    ) -> "PublicKey":
        """Read what ``to_hex`` wrote; the fingerprint is recomputed and compared.

        Raises
        ------
        KeyMaterialError
            If a field is missing or no number, the key is too small, or the fingerprint differs.
        """
        n, hs = fields.get("n"), fields.get("hs")
        alpha_bits, announced = fields.get("alpha_bits"), fields.get("fingerprint")
        if (
            not {"n", "hs", "alpha_bits", "fingerprint"} <= set(fields)
            or not _is_hex(n, bits=MAXIMUM_KEY_BITS)
            or not (hs is None or _is_hex(hs, bits=2 * MAXIMUM_KEY_BITS))
            or not (alpha_bits is None or type(alpha_bits) is int)
            or not _is_hex(announced, bits=256)
        ):
            raise KeyMaterialError(
                "public key cannot be read: a field is missing, malformed or too long; expected "
                "the hexadecimal fields n and hs, and alpha_bits and fingerprint"
            )
        key = cls(
            int(str(n), 16),
            None if hs is None else int(str(hs), 16),
            None if alpha_bits is None else int(alpha_bits),
            insecure_allow_small_key=insecure_allow_small_key,
        )
        if key.fingerprint != announced:
            raise KeyMaterialError(
                f"public key has fingerprint {key.fingerprint[:16]}..., announced was "
                f"{str(announced)[:16]}...; it was altered on its way"
            )
        return key


def _is_hex(value: object, *, bits: int) -> bool:
    """Tell whether a text is a number of at most ``bits``, before it is read as one."""
    if not isinstance(value, str) or len(value) > -(-bits // 4):
        return False
    return re.fullmatch(r"[0-9a-f]+", value) is not None
