"""Private key files of ``pheutil``, phe's command line (JSON Web Key with ``kty`` "DAJ")."""

import base64
import binascii
import json

from fraudfed.errors import KeyMaterialError
from fraudfed.paillier.private_key import PrivateKey


def is_pheutil_private_key(text: str) -> bool:
    """Tell whether ``text`` is meant as a pheutil private key."""
    try:
        fields = json.loads(text)
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
        fields = json.loads(text)
        if fields["kty"] != "DAJ" or "decrypt" not in fields["key_ops"]:
            raise KeyMaterialError(
                f"{source}: pheutil key of type {fields['kty']!r} for {fields['key_ops']!r}, "
                "expected a private key (kty 'DAJ', key_ops 'decrypt'); it may be the public half"
            )
        first, second, n = (_integer(x) for x in (fields["p"], fields["q"], fields["pub"]["n"]))
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        # The text holds a private key: name the kind of fault, quote nothing.
        raise KeyMaterialError(
            f"{source}: not a pheutil private key ({type(error).__name__}); expected the file "
            "that `pheutil genpkey` writes"
        ) from None
    if first * second != n:
        raise KeyMaterialError(
            f"{source}: the modulus of the public half is not p * q; the file is damaged"
        )
    return PrivateKey.from_phe_primes(
        first, second, insecure_allow_small_key=insecure_allow_small_key
    )


def _integer(text: object) -> int:
    """Decode base64url without padding (RFC 7518, section 6.3.1)."""
    if not isinstance(text, str):
        raise TypeError("a number of a JSON Web Key is a string")
    padded = text.encode("ascii") + b"=" * (-len(text) % 4)
    return int.from_bytes(base64.b64decode(padded, altchars=b"-_", validate=True), "big")
