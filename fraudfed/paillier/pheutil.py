"""Keys and ciphertexts of phe and of ``pheutil``, its command line, read and written.

Law: what one side encrypts or adds up, the other decrypts to the same integers. Only the noise is
of another form: phe makes ``r^N`` (Paillier, EUROCRYPT '99, section 4, scheme 1) and knows no
``hs``, so a key that goes to phe and back is a plain one.

A number of phe is a ciphertext with a public exponent e: its value is the plaintext times
``16**e``. Ours are integers: e is 0. ``pheutil`` brings what it writes to e = -32 or less.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import phe
from gmpy2 import mpz

from fraudfed.errors import CiphertextError, KeyMaterialError
from fraudfed.foreign_json import parse_foreign
from fraudfed.paillier.keys import MAXIMUM_KEY_BITS, PublicKey
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector

#: A key file of the largest key is below 10 kB.
_MOST_KEY_BYTES = 64 * 1024
#: A ciphertext of the largest key has 5 thousand digits.
_MOST_LINE_BYTES = 1024 * 1024
#: phe writes -32, and less where a float of its own needs it; a forged one would take years.
_LEAST_EXPONENT, _MOST_EXPONENT = -1_024, 1_024


@dataclass(frozen=True)
class PheNumbers:
    """Ciphertexts of phe, brought to one exponent.

    Attributes
    ----------
    vector : CiphertextVector
    exponent : int
        Each value is its plaintext times ``16**exponent``.
    """

    vector: CiphertextVector
    exponent: int


def is_pheutil_private_key(text: str) -> bool:
    """Tell whether ``text`` is meant as a pheutil private key."""
    try:
        fields = parse_foreign(text, most_bytes=_MOST_KEY_BYTES)
    except ValueError:
        return False
    return isinstance(fields, dict) and fields.get("kty") == "DAJ"


def read_pheutil_private_key(
    text: str, *, source: str, insecure_allow_small_key: bool = False
) -> PrivateKey:
    """Read a private key as ``pheutil genpkey`` writes it; a plain Paillier key.

    Raises
    ------
    KeyMaterialError
        If a field is missing or malformed, or the numbers are no Paillier key.
    """
    try:
        fields = parse_foreign(text, most_bytes=_MOST_KEY_BYTES)
        if fields["kty"] != "DAJ" or "decrypt" not in fields["key_ops"]:
            raise KeyMaterialError(
                f"{source}: pheutil key of another type or use, expected a private key (kty "
                "'DAJ', key_ops 'decrypt'); it may be the public half"
            )
        first, second, n = (_integer(x) for x in (fields["p"], fields["q"], fields["pub"]["n"]))
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        # The text holds a private key: name the kind of fault, quote nothing.
        raise KeyMaterialError(
            f"{source}: not a pheutil private key ({type(error).__name__}); expected the file "
            "that `pheutil genpkey` writes"
        ) from None
    try:
        key = PrivateKey.from_phe_primes(
            first, second, insecure_allow_small_key=insecure_allow_small_key
        )
    except KeyMaterialError as error:
        raise KeyMaterialError(f"{source}: {error}") from None
    if key.public.n != n:
        raise KeyMaterialError(
            f"{source}: the modulus of the public half is not p * q; the file is damaged"
        )
    return key


def expose_pheutil_private_key(key: PrivateKey, *, name: str) -> str:
    """Return the text of a pheutil private key file; search for this name to find every use.

    ``pheutil decrypt`` with it opens everything that is encrypted under ``key``.

    Parameters
    ----------
    key : PrivateKey
    name : str
        The key's ``kid``, a remark for people.
    """
    parts = key.expose_secret_parts()
    fields = {
        "kty": "DAJ",
        "key_ops": ["decrypt"],
        "p": phe.util.int_to_base64(parts["P"]),
        "q": phe.util.int_to_base64(parts["Q"]),
        "pub": _public_fields(key.public, name),
        "kid": name,
    }
    return json.dumps(fields) + "\n"


def read_pheutil_public_key(
    text: str, *, source: str, insecure_allow_small_key: bool = False
) -> PublicKey:
    """Read a public key as ``pheutil extract`` writes it; a plain Paillier key.

    Raises
    ------
    KeyMaterialError
        If a field is missing or malformed, or the number is too small or no Paillier modulus.
    """
    try:
        fields = parse_foreign(text, most_bytes=_MOST_KEY_BYTES)
        if (fields["kty"], fields["alg"]) != ("DAJ", "PAI-GN1"):
            raise KeyMaterialError(
                f"{source}: key of another type, expected a pheutil public key (kty 'DAJ', alg "
                "'PAI-GN1')"
            )
        n = _integer(fields["n"])
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise KeyMaterialError(
            f"{source}: not a pheutil public key ({type(error).__name__}); expected the file that "
            "`pheutil extract` writes"
        ) from None
    return PublicKey(n, insecure_allow_small_key=insecure_allow_small_key)


def write_pheutil_public_key(key: PublicKey, *, name: str) -> str:
    """Return the text of a pheutil public key file.

    Parameters
    ----------
    key : PublicKey
    name : str
        The key's ``kid``, a remark for people.
    """
    return json.dumps(_public_fields(key, name)) + "\n"


def to_phe_numbers(vector: CiphertextVector) -> list[phe.EncryptedNumber]:
    """Return ciphertexts as numbers of phe, to be added up and multiplied there.

    phe reads a plaintext as signed if its absolute value is below N / 3; larger ones are an
    ``OverflowError`` when it decrypts. A packed plaintext stays below N / 4.
    """
    public = phe.PaillierPublicKey(vector.public_key.n)
    return [phe.EncryptedNumber(public, int(value)) for value in vector.integers()]


def of_phe_numbers(
    numbers: Iterable[phe.EncryptedNumber], *, public_key: PublicKey, source: str = "phe"
) -> PheNumbers:
    """Return numbers of phe as a vector, all brought to the least of their exponents.

    A number that phe has added up or multiplied gets fresh noise first, as phe does itself before
    it hands one out: without it, a ciphertext shows what it was made of.

    Raises
    ------
    CiphertextError
        If a number is under another key, has an exponent out of range, or is no ciphertext.
    """
    found = list(numbers)
    for index, number in enumerate(found):
        if number.public_key.n != public_key.n:
            raise CiphertextError(
                f"{source}: ciphertext {index} of {len(found)} is under another key, expected "
                f"{public_key.fingerprint[:16]}..."
            )
    return _aligned(found, public_key, source, be_secure=True)


def write_pheutil_ciphertexts(vector: CiphertextVector) -> str:
    """Return a line of JSON for each ciphertext; each is the content of a pheutil file."""
    return "".join(
        json.dumps({"v": str(value), "e": 0}) + "\n" for value in map(int, vector.integers())
    )


def read_pheutil_ciphertexts(text: str, *, public_key: PublicKey, source: str) -> PheNumbers:
    """Read ciphertexts as pheutil writes them, one a line.

    Raises
    ------
    CiphertextError
        If a line is no ciphertext under ``public_key``, or its exponent is out of range.
    """
    public = phe.PaillierPublicKey(public_key.n)
    numbers = []
    for line_number, line in enumerate(text.splitlines(), start=1):
        where = f"{source}, line {line_number}"
        try:
            fields = parse_foreign(line, most_bytes=_MOST_LINE_BYTES)
            digits, exponent = fields["v"], fields["e"]
        except (ValueError, KeyError, TypeError):
            raise _no_ciphertext(where) from None
        if not isinstance(digits, str) or not digits.isascii() or not digits.isdecimal():
            raise _no_ciphertext(where)
        if type(exponent) is not int:
            raise _no_ciphertext(where)
        # A longer text is no residue, and would take long to read.
        value = int(digits) if len(digits) <= len(str(public_key.n_squared)) else 0
        if not 0 < value < public_key.n_squared:
            raise CiphertextError(
                f"{where}: ciphertext is not in 1 .. N^2 - 1 ({public_key.key_bits}-bit key); it "
                "is made under another key"
            )
        numbers.append(phe.EncryptedNumber(public, value, exponent))
    return _aligned(numbers, public_key, source, be_secure=False)


def _no_ciphertext(where: str) -> CiphertextError:
    return CiphertextError(
        f"{where}: not a ciphertext of pheutil, expected an object with 'v', a text of digits, and "
        "'e', an integer"
    )


def _aligned(
    numbers: list[phe.EncryptedNumber], public_key: PublicKey, source: str, *, be_secure: bool
) -> PheNumbers:
    exponents = [number.exponent for number in numbers] or [0]
    if not _LEAST_EXPONENT <= min(exponents) <= max(exponents) <= _MOST_EXPONENT:
        raise CiphertextError(
            f"{source}: exponents go from {min(exponents)} to {max(exponents)}, expected "
            f"{_LEAST_EXPONENT} to {_MOST_EXPONENT}"
        )
    least = min(exponents)
    values = [
        mpz(number.decrease_exponent_to(least).ciphertext(be_secure=be_secure))
        for number in numbers
    ]
    vector = CiphertextVector.of_integers(public_key, values)
    vector.check()
    return PheNumbers(vector, least)


def _public_fields(key: PublicKey, name: str) -> dict[str, Any]:
    return {
        "kty": "DAJ",
        "alg": "PAI-GN1",
        "key_ops": ["encrypt"],
        "n": phe.util.int_to_base64(key.n),
        "kid": name,
    }


def _integer(text: object) -> int:
    """Decode base64url without padding (RFC 7518, section 6.3.1)."""
    if not isinstance(text, str):
        raise TypeError("a number of a JSON Web Key is a string")
    # Four characters are three bytes: the longest number of a key.
    if len(text) > MAXIMUM_KEY_BITS // 6 + 4:
        raise ValueError("longer than any number of a key")
    padded = text.encode("ascii") + b"=" * (-len(text) % 4)
    return int.from_bytes(base64.b64decode(padded, altchars=b"-_", validate=True), "big")
