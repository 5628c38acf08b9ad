"""What two people read to each other: a member's fingerprint, and one code for a whole roster.

Both know public keys only, so that every side may import them.
"""

import hashlib
import hmac
from collections.abc import Iterable

from fraudfed.consortium.public.documents import roster_bytes
from fraudfed.errors import ConfigurationError, KeyMaterialError
from fraudfed.wire.messages import MemberKeys

_DOMAIN = b"fraudfed member fingerprint v1\0"
_CODE_DOMAIN = b"fraudfed roster code v1\0"
_GROUPS = 12
_DIGITS = 5
_DECIMAL = frozenset("0123456789")


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
    return " ".join(_groups(digest.digest()))


def roster_code(members: Iterable[MemberKeys]) -> str:
    """Return twelve groups of five decimal digits, joined by hyphens, for all members together.

    Law: two rosters have the same code exactly if they have the same names with the same keys,
    but for a collision. The digits are SHA-256 of the sorted names and keys modulo 10^60, which is
    199 bits. An aggregator that lies chooses keys on both sides of a telephone call, so that it
    looks for two rosters with one code rather than for one with a given code: that takes about
    2^99 trials, where 120 bits would leave 2^60.

    Parameters
    ----------
    members : iterable of MemberKeys
        In any order; the bank's own keys among them.
    """
    listed = sorted(members, key=lambda member: member.name)
    return "-".join(_groups(hashlib.sha256(_CODE_DOMAIN + roster_bytes(listed)).digest()))


def is_roster_code(code: str, members: Iterable[MemberKeys]) -> bool:
    """Tell, in constant time, whether a person has read or typed the code of these members.

    Spaces and hyphens between the digits do not matter.

    Raises
    ------
    ConfigurationError
        If it cannot be a code: it is not sixty digits.
    """
    digits = code.replace(" ", "").replace("-", "")
    if len(digits) != _GROUPS * _DIGITS or not set(digits) <= _DECIMAL:
        raise ConfigurationError(
            f"{code[:100]!r}: is no roster code, expected {_GROUPS} groups of {_DIGITS} digits as "
            "`bank-node roster` shows them; one member alone is confirmed by --confirm-member NAME"
        )
    return hmac.compare_digest(digits, roster_code(members).replace("-", ""))


def _groups(digest: bytes) -> list[str]:
    number = int.from_bytes(digest, "big") % 10 ** (_GROUPS * _DIGITS)
    digits = f"{number:0{_GROUPS * _DIGITS}d}"
    return [digits[start : start + _DIGITS] for start in range(0, len(digits), _DIGITS)]
