"""A bank's own keys: Ed25519 to sign with, X25519 to agree and to unseal with."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fraudfed.consortium.private_reading import read_private_file
from fraudfed.durable_file import write_new
from fraudfed.errors import KeyMaterialError, StateError
from fraudfed.wire.messages import MemberKeys

#: Raised when the meaning of the file changes.
FORMAT_VERSION = 1
#: RFC 9180 with the ciphers that the rest of fraudfed uses; key packages are sealed with it.
HPKE_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)

_FORMAT = "fraudfed identity"
_WHAT = "bank identity"
_HINT = "make one with `bank-node join`"
_DOMAIN = b"fraudfed identity v1\0"
_KEY_BYTES = 32
#: scrypt (RFC 7914) over 128 MiB, the first choice of the OWASP password storage cheat sheet.
_SCRYPT_LOG2_N = 17
_SCRYPT_R = 8
_SCRYPT_P = 1
_SALT_BYTES = 16
_NONCE_BYTES = 12


@dataclass(frozen=True)
class PublicKeys:
    """The public halves, 32 bytes each in lower-case hexadecimal."""

    signing_key: str
    agreement_key: str


class Identity:
    """Both private keys of a bank. Never printed, pickled, copied, compared or logged.

    The file is JSON that only its owner may read; with a passphrase the keys in it are encrypted
    (scrypt, ChaCha20-Poly1305), without one they are not.
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
        raise TypeError("an identity cannot be pickled or copied; use save and load")

    def __getstate__(self) -> object:
        raise TypeError("an identity cannot be pickled or copied; use save and load")

    def save(self, path: Path, passphrase: str | None = None) -> None:
        """Write the keys to a new file that only its owner may read (mode 0600), atomically.

        Raises
        ------
        KeyMaterialError
            If the passphrase is empty, the file exists already (a lost identity cannot be made
            again), or it cannot be written.
        """
        fields: dict[str, Any] = {
            "format": _FORMAT,
            "version": FORMAT_VERSION,
            "signing_key": self._public.signing_key,
            "agreement_key": self._public.agreement_key,
            "encryption": None,
        }
        data = self._signing.private_bytes_raw() + self._agreement.private_bytes_raw()
        if passphrase is not None:
            if not passphrase:
                raise KeyMaterialError(
                    "passphrase is empty; give one that is hard to guess, or none at all to keep "
                    "the identity unencrypted"
                )
            salt = secrets.token_bytes(_SALT_BYTES)
            nonce = secrets.token_bytes(_NONCE_BYTES)
            fields["encryption"] = {
                "kdf": "scrypt",
                "log2_n": _SCRYPT_LOG2_N,
                "r": _SCRYPT_R,
                "p": _SCRYPT_P,
                "salt": salt.hex(),
                "cipher": "chacha20-poly1305",
                "nonce": nonce.hex(),
            }
            data = _cipher(passphrase, salt).encrypt(nonce, data, _associated(self._public))
        fields["private_keys"] = data.hex()
        try:
            write_new(path, json.dumps(fields, indent=1).encode() + b"\n")
        except FileExistsError:
            raise KeyMaterialError(
                f"{path}: file exists and an identity is never overwritten; choose another name or "
                "move the old file away"
            ) from None
        except StateError as error:
            raise KeyMaterialError(str(error)) from error

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> "Identity":
        """Read what ``save`` wrote.

        Raises
        ------
        KeyMaterialError
            If the file is missing, unreadable, readable by others than its owner, of another
            format or version, or damaged; or if the passphrase is wrong, missing, or given for a
            file that is not encrypted.
        """
        fields = _read_fields(path)
        encryption = fields.get("encryption")
        if encryption is not None and passphrase is None:
            raise KeyMaterialError(f"{path}: identity is encrypted; give its passphrase")
        if encryption is None and passphrase is not None:
            raise KeyMaterialError(
                f"{path}: a passphrase was given, but the identity is not encrypted; is this the "
                "right file?"
            )
        try:
            announced = PublicKeys(str(fields["signing_key"]), str(fields["agreement_key"]))
            data = bytes.fromhex(fields["private_keys"])
            if encryption is not None and passphrase is not None:
                data = _decrypt(data, encryption, passphrase, announced, path)
            identity = cls(
                Ed25519PrivateKey.from_private_bytes(data[:_KEY_BYTES]),
                X25519PrivateKey.from_private_bytes(data[_KEY_BYTES:]),
            )
        except (KeyError, TypeError, ValueError):
            # What is in the file is secret: the message quotes nothing of it.
            raise _not_an_identity(path, "a field is missing or malformed") from None
        if identity.public != announced:
            raise KeyMaterialError(
                f"{path}: private keys belong to other public keys than the file says; it is "
                "damaged, take another copy"
            )
        return identity


def _read_fields(path: Path) -> dict[str, Any]:
    data = read_private_file(path, what=_WHAT, hint=_HINT)
    try:
        fields = json.loads(data)
    except ValueError:
        raise _not_an_identity(path, "it is not JSON") from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise _not_an_identity(path, "it has another format")
    if fields.get("version") != FORMAT_VERSION:
        raise KeyMaterialError(
            f"{path}: identity is of version {fields.get('version')!r}, this program reads "
            f"{FORMAT_VERSION}; use the fraudfed release that made it"
        )
    return fields


def _decrypt(
    data: bytes, encryption: Any, passphrase: str, announced: PublicKeys, path: Path
) -> bytes:
    # Only the parameters that ``save`` writes: a changed file could ask for all memory or for none.
    expected = {
        "kdf": "scrypt",
        "log2_n": _SCRYPT_LOG2_N,
        "r": _SCRYPT_R,
        "p": _SCRYPT_P,
        "cipher": "chacha20-poly1305",
    }
    if not isinstance(encryption, dict) or not expected.items() <= encryption.items():
        raise ValueError("unknown encryption")
    cipher = _cipher(passphrase, bytes.fromhex(encryption["salt"]))
    try:
        return cipher.decrypt(bytes.fromhex(encryption["nonce"]), data, _associated(announced))
    except InvalidTag:
        raise KeyMaterialError(
            f"{path}: identity does not open; the passphrase is wrong or the file is damaged"
        ) from None


def _cipher(passphrase: str, salt: bytes) -> ChaCha20Poly1305:
    kdf = Scrypt(salt=salt, length=32, n=1 << _SCRYPT_LOG2_N, r=_SCRYPT_R, p=_SCRYPT_P)
    return ChaCha20Poly1305(kdf.derive(passphrase.encode()))


def _associated(public: PublicKeys) -> bytes:
    return _DOMAIN + bytes.fromhex(public.signing_key) + bytes.fromhex(public.agreement_key)


def _not_an_identity(path: Path, reason: str) -> KeyMaterialError:
    return KeyMaterialError(
        f"{path}: not a {_WHAT} ({reason}); expected the file that `bank-node join` writes"
    )
