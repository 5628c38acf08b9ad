"""Fingerprint of a member's public keys, in a form that two people can read to each other.

It knows public keys only, so that every side may import it.
"""

import hashlib

from fraudfed.errors import KeyMaterialError

_DOMAIN = b"fraudfed member fingerprint v1\0"
_GROUPS = 12
_DIGITS = 5


def fingerprint(name: str, signing_key: str, agreement_key: str) -> str:
    """Twelve groups of five decimal digits, separated by single spaces.

    They are SHA-512 of the name and both keys modulo 10^60, which is 199 bits: to find other keys
    with the same fingerprint (a second preimage) takes about 2^199 trials. Digits rather than
    letters, because they are told apart on a bad line and read alike in every language.

    Parameters
    ----------
    name : str
        Name of the member.
    signing_key, agreement_key : str
        Ed25519 and X25519 public keys, 32 bytes each in lower-case hexadecimal.

    Raises
    ------
    KeyMaterialError
        If a key is not 32 bytes in lower-case hexadecimal.
    """
    digest = hashlib.sha512(_DOMAIN)
    text = name.encode()
    digest.update(len(text).to_bytes(8, "big") + text)
    for what, key in (("signing key", signing_key), ("agreement key", agreement_key)):
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise KeyMaterialError(
                f"{what} of {name} is {key[:80]!r}, expected 32 bytes in lower-case hexadecimal"
            )
        digest.update(bytes.fromhex(key))
    number = int.from_bytes(digest.digest(), "big") % 10 ** (_GROUPS * _DIGITS)
    digits = f"{number:0{_GROUPS * _DIGITS}d}"
    return " ".join(digits[start : start + _DIGITS] for start in range(0, len(digits), _DIGITS))
