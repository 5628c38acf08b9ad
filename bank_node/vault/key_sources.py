"""Where the key-encryption key is: behind a passphrase, in a keyring, or in a PKCS#11 token.

A source wraps and unwraps one key of 32 bytes, the vault's. Law: ``unwrap(wrap(key, aad), aad) =
key``; with another passphrase, keyring entry, token or ``aad`` it is an error. What it needs to
find its own key again, and nothing secret, is in its ``parameters``.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fraudfed.errors import ConfigurationError, KeyMaterialError

if TYPE_CHECKING:
    import pkcs11

_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BITS = 128
_SALT_BYTES = 16
#: scrypt (RFC 7914) over 128 MiB, the first choice of the OWASP password storage cheat sheet.
_SCRYPT = {"log2_n": 17, "r": 8, "p": 1}
#: What entries of the keyring are filed under; the user name is a random one for each vault.
_KEYRING_SERVICE = "fraudfed bank-node"


class KeySource(StrEnum):
    """The kinds of sources."""

    PASSPHRASE = "passphrase"  # noqa: S105 - the name of a kind, not one
    KEYRING = "keyring"
    PKCS11 = "pkcs11"


class Source(Protocol):
    """Wraps the vault's key."""

    @property
    def kind(self) -> KeySource:
        """The kind of source."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What is written down, so that the source finds its key again."""
        ...

    def wrap(self, key: bytes, *, aad: bytes) -> bytes:
        """Return the wrapped key.

        Raises
        ------
        KeyMaterialError, ConfigurationError
            If the source cannot be used.
        """
        ...

    def unwrap(self, wrapped: bytes, *, aad: bytes) -> bytes:
        """Return the key; raises as ``wrap``, and KeyMaterialError if it does not open."""
        ...


class PassphraseSource:
    """A passphrase, stretched by scrypt (RFC 7914).

    Parameters
    ----------
    passphrase : str
        Not empty.
    parameters : mapping or None
        As written down; None makes a new salt.

    Raises
    ------
    KeyMaterialError
        If the passphrase is empty, or the parameters are not those that this program writes: a
        changed file could ask for all memory, or for none.
    """

    kind = KeySource.PASSPHRASE

    def __init__(self, passphrase: str, parameters: Mapping[str, Any] | None = None) -> None:
        if not passphrase:
            raise KeyMaterialError(
                "passphrase is empty; give one that is hard to guess, or none at all to keep the "
                "state directory unencrypted"
            )
        if parameters is None:
            parameters = {**_SCRYPT, "salt": secrets.token_hex(_SALT_BYTES)}
        salt = parameters.get("salt")
        if {**parameters, "salt": None} != {**_SCRYPT, "salt": None} or not _is_hex(
            salt, _SALT_BYTES
        ):
            raise KeyMaterialError("the vault's scrypt parameters are not those of this program")
        self.parameters: Mapping[str, Any] = dict(parameters)
        kdf = Scrypt(
            salt=bytes.fromhex(str(salt)),
            length=_KEY_BYTES,
            n=1 << _SCRYPT["log2_n"],
            r=_SCRYPT["r"],
            p=_SCRYPT["p"],
        )
        self._cipher = AESGCM(kdf.derive(passphrase.encode()))

    def wrap(self, key: bytes, *, aad: bytes) -> bytes:
        """Return ``nonce || AES-256-GCM(key)``."""
        return _wrap(self._cipher, key, aad)

    def unwrap(self, wrapped: bytes, *, aad: bytes) -> bytes:
        """Return the key; raises KeyMaterialError if the passphrase is wrong."""
        return _unwrap(self._cipher, wrapped, aad, what="the passphrase is wrong")

    def __reduce__(self) -> str:
        raise TypeError("a key source is secret and cannot be copied or pickled")


class KeyringSource:
    """An entry of the system's keyring (the package ``keyring``), made with the vault.

    Raises
    ------
    ConfigurationError
        If the package is missing or has no keyring to work with.
    KeyMaterialError
        If the entry is missing.
    """

    kind = KeySource.KEYRING

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        try:
            import keyring
            from keyring.errors import KeyringError
        except ModuleNotFoundError:
            raise ConfigurationError(
                "the keyring is not available; install it with 'pip install fraudfed[keyring]'"
            ) from None
        try:
            if parameters is None:
                user = secrets.token_hex(16)
                keyring.set_password(_KEYRING_SERVICE, user, secrets.token_hex(_KEY_BYTES))
            else:
                user = str(parameters.get("user"))
            found = keyring.get_password(_KEYRING_SERVICE, user)
        except KeyringError as error:
            raise ConfigurationError(
                f"the keyring cannot be used ({type(error).__name__}); unlock it, or set one up "
                "for this user"
            ) from None
        if found is None or not _is_hex(found, _KEY_BYTES):
            raise KeyMaterialError(
                f"the keyring holds no key {user!r} of {_KEYRING_SERVICE!r}; work as the user who "
                "made the state directory, or restore the keyring"
            )
        self.parameters: Mapping[str, Any] = {"service": _KEYRING_SERVICE, "user": user}
        self._cipher = AESGCM(bytes.fromhex(found))

    def wrap(self, key: bytes, *, aad: bytes) -> bytes:
        """Return ``nonce || AES-256-GCM(key)``."""
        return _wrap(self._cipher, key, aad)

    def unwrap(self, wrapped: bytes, *, aad: bytes) -> bytes:
        """Return the key; raises KeyMaterialError if the entry is another one."""
        return _unwrap(self._cipher, wrapped, aad, what="the keyring's entry is another one")

    def __reduce__(self) -> str:
        raise TypeError("a key source is secret and cannot be copied or pickled")


class Pkcs11Source:
    """An AES key that never leaves a PKCS#11 token (the package ``python-pkcs11``).

    The token encrypts and decrypts the vault's key itself (CKM_AES_GCM of PKCS #11 v2.40,
    section 2.12). The AES key is made in the token by its own tools, not extractable.

    Parameters
    ----------
    module : str
        Path of the token's library.
    token, key : str
        Labels of the token and of its AES key.
    pin : str or None
    """

    kind = KeySource.PKCS11

    def __init__(self, *, module: str, token: str, key: str, pin: str | None) -> None:
        self.parameters: Mapping[str, Any] = {"module": module, "token": token, "key": key}
        self._module, self._token, self._key, self._pin = module, token, key, pin

    def wrap(self, key: bytes, *, aad: bytes) -> bytes:
        """Return ``nonce || CKM_AES_GCM(key)``."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        with self._wrapping_key() as (aes, gcm):
            return nonce + bytes(aes.encrypt(key, **gcm(nonce, aad)))

    def unwrap(self, wrapped: bytes, *, aad: bytes) -> bytes:
        """Return the key; raises KeyMaterialError if the token's key is another one."""
        with self._wrapping_key() as (aes, gcm):
            return bytes(aes.decrypt(wrapped[_NONCE_BYTES:], **gcm(wrapped[:_NONCE_BYTES], aad)))

    @contextmanager
    def _wrapping_key(self) -> Iterator[Any]:
        try:
            import pkcs11
        except ModuleNotFoundError:
            raise ConfigurationError(
                "PKCS#11 is not available; install it with 'pip install fraudfed[pkcs11]'"
            ) from None

        def gcm(nonce: bytes, aad: bytes) -> dict[str, Any]:
            return {
                "mechanism": pkcs11.Mechanism.AES_GCM,
                "mechanism_param": pkcs11.GCMParams(nonce, aad, _TAG_BITS),
            }

        try:
            token = pkcs11.lib(self._module).get_token(token_label=self._token)
            with token.open(user_pin=self._pin) as session:
                aes = session.get_key(
                    object_class=pkcs11.ObjectClass.SECRET_KEY,
                    key_type=pkcs11.KeyType.AES,
                    label=self._key,
                )
                yield aes, gcm
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            raise KeyMaterialError(
                f"token {self._token!r} of {self._module}, key {self._key!r}: {_reason(error)}; "
                "see that the token is there, holds this AES key, and that the passphrase file "
                "holds its PIN"
            ) from None

    def __reduce__(self) -> str:
        raise TypeError("a key source is secret and cannot be copied or pickled")


def _reason(error: "pkcs11.PKCS11Error | Exception") -> str:
    # Some of these have no text; none holds a secret, but a text of a library is not ours to show.
    return type(error).__name__


def _wrap(cipher: AESGCM, key: bytes, aad: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, key, aad)


def _unwrap(cipher: AESGCM, wrapped: bytes, aad: bytes, *, what: str) -> bytes:
    try:
        return cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], aad)
    except (InvalidTag, ValueError):
        raise KeyMaterialError(f"the vault does not open: {what}, or its file is damaged") from None


def _is_hex(text: object, n_bytes: int) -> bool:
    return (
        isinstance(text, str) and len(text) == 2 * n_bytes and set(text) <= set("0123456789abcdef")
    )
