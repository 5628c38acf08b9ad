"""A bank's own keys: Ed25519 to sign with, X25519 to agree and to unseal with."""

import json
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fraudfed.errors import KeyMaterialError
from fraudfed.wire.messages import MemberKeys

#: Raised when the meaning of the file changes.
FORMAT_VERSION = 2
#: RFC 9180 with the ciphers that the rest of fraudfed uses; key packages are sealed with it.
HPKE_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)

_FORMAT = "fraudfed identity"
_WHAT = "bank identity"
_KEY_BYTES = 32


@dataclass(frozen=True)
class PublicKeys:
    """The public halves, 32 bytes each in lower-case hexadecimal."""

    signing_key: str
    agreement_key: str


class Identity:
    """Both private keys of a bank. Never printed, pickled, copied, compared or logged.

    ``bank_node.state.directory`` keeps it, sealed by the bank's vault if it has one.
    """

    __slots__ = ("_agreement", "_public", "_signing")

    def __init__(self, signing: Ed25519PrivateKey, agreement: X25519PrivateKey) -> None:
        self._signing = signing
        self._agreement = agreement
        self._public = PublicKeys(
            signing_key=signing.public_key().public_bytes_raw().hex(),
            agreement_key=agreement.public_key().public_bytes_raw().hex(),
        )

    @classmethod
    def generate(cls) -> "Identity":
        """Make new keys from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())

    @property
    def public(self) -> PublicKeys:
        """What others know this bank by."""
        return self._public

    def member(self, name: str) -> MemberKeys:
        """Return the public keys as those of member ``name``."""
        return MemberKeys(
            name=name,
            signing_key=self._public.signing_key,
            agreement_key=self._public.agreement_key,
        )

    def sign(self, data: bytes, /) -> bytes:
        """Return the 64-byte Ed25519 signature over ``data``."""
        return self._signing.sign(data)

    def exchange(self, agreement_key: str) -> bytes:
        """Return the 32-byte X25519 secret shared with the holder of ``agreement_key``.

        Law: ``a.exchange(b.public.agreement_key) == b.exchange(a.public.agreement_key)``. It is
        key material and no key: derive keys from it.

        Raises
        ------
        KeyMaterialError
            If ``agreement_key`` is no public key, or one of small order, with which the secret
            would be no secret.
        """
        try:
            peer = X25519PublicKey.from_public_bytes(bytes.fromhex(agreement_key))
            return self._agreement.exchange(peer)
        except ValueError:
            raise KeyMaterialError(
                f"agreement key is {agreement_key[:80]!r}, expected an X25519 public key, 32 bytes "
                "in hexadecimal and not of small order; do not work with the bank that announced it"
            ) from None

    def unseal(self, box: bytes, *, info: bytes) -> bytes:
        """Open an HPKE box (``HPKE_SUITE``, base mode) that was sealed to ``agreement_key``.

        Raises
        ------
        KeyMaterialError
            If it was sealed to another key or under another ``info``, or altered.
        """
        try:
            return HPKE_SUITE.decrypt(box, self._agreement, info=info)
        except (InvalidTag, ValueError):
            raise KeyMaterialError(
                "sealed box does not open with this bank's agreement key; it was sealed to another "
                "key, for another purpose, or altered"
            ) from None

    def __repr__(self) -> str:
        return f"<Identity {self._public.signing_key[:16]}>"

    def __reduce__(self) -> str:
        raise TypeError("an identity cannot be pickled or copied; it belongs to one process")

    def __getstate__(self) -> object:
        raise TypeError("an identity cannot be pickled or copied; it belongs to one process")

    def expose_bytes(self) -> bytes:
        """Return both private keys as JSON, as they are: seal them before they are written."""
        fields = {
            "format": _FORMAT,
            "version": FORMAT_VERSION,
            "signing_key": self._public.signing_key,
            "agreement_key": self._public.agreement_key,
            "private_keys": (
                self._signing.private_bytes_raw() + self._agreement.private_bytes_raw()
            ).hex(),
        }
        return json.dumps(fields, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> "Identity":
        """Read what ``expose_bytes`` returned; ``source`` is for the error text.

        Raises
        ------
        KeyMaterialError
            If it is of another format or version, or damaged.
        """
        fields = _read_fields(data, source)
        try:
            announced = PublicKeys(str(fields["signing_key"]), str(fields["agreement_key"]))
            private = bytes.fromhex(fields["private_keys"])
            identity = cls(
                Ed25519PrivateKey.from_private_bytes(private[:_KEY_BYTES]),
                X25519PrivateKey.from_private_bytes(private[_KEY_BYTES:]),
            )
        except (KeyError, TypeError, ValueError):
            # What is in the file is secret: the message quotes nothing of it.
            raise _not_an_identity(source, "a field is missing or malformed") from None
        if identity.public != announced:
            raise KeyMaterialError(
                f"{source}: private keys belong to other public keys than the file says; it is "
                "damaged, take another copy"
            )
        return identity


def _read_fields(data: bytes, source: str) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError:
        raise _not_an_identity(source, "it is not JSON") from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise _not_an_identity(source, "it has another format")
    if fields.get("version") != FORMAT_VERSION:
        raise KeyMaterialError(
            f"{source}: identity is of version {fields.get('version')!r}, this program reads "
            f"{FORMAT_VERSION}; use the fraudfed release that made it"
        )
    return fields


def _not_an_identity(source: str, reason: str) -> KeyMaterialError:
    return KeyMaterialError(
        f"{source}: not a {_WHAT} ({reason}); expected the file that `bank-node join` writes"
    )
