"""The vault: one key under which every secret file of a state directory is sealed.

``vault.json`` holds the vault's key, wrapped by a key source (``key_sources``), and what the source
needs to find its own. A sealed file is a ``fraudfed.container`` of a nonce and what AES-256-GCM
makes of the content under a key derived (HKDF, RFC 5869) for that file's name alone: a file in the
place of another does not open, nor does one that was changed. Each file has a key of its own, so
that random nonces of 96 bits do for 2^32 writes of each (NIST SP 800-38D, section 8.3).

A state directory without a vault keeps its files as they are, readable by their owner only. It
refuses sealed files, and one with a vault refuses files that are not sealed: nothing falls back.
"""

import json
import secrets
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bank_node.vault.key_sources import (
    KeyringSource,
    KeySource,
    PassphraseSource,
    Pkcs11Source,
    Source,
)
from fraudfed.consortium.private_reading import read_private_file
from fraudfed.container import Container
from fraudfed.durable_file import write_new
from fraudfed.errors import KeyMaterialError, StateError

FORMAT_VERSION = 1
_FORMAT = "fraudfed vault"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_DOMAIN = b"fraudfed vault v1\0"
_MAGIC = b"FFSEALED"
_SEALED = Container(
    magic=_MAGIC,
    version=1,
    what="a sealed file",
    advice="restore it from a backup of the same state directory",
)


class Vault(Protocol):
    """Seals what is secret before it is written, and opens it when it is read."""

    @property
    def source(self) -> KeySource | None:
        """Where the key is; None without encryption."""
        ...

    def seal(self, name: str, data: bytes) -> bytes:
        """Return what is written as the file ``name``, a path below the state directory."""
        ...

    def unseal(self, name: str, data: bytes) -> bytes:
        """Return what was sealed for the file ``name``.

        Raises
        ------
        KeyMaterialError
            If it was sealed for another file or by another vault, changed, or not sealed at all.
        StateError
            If it is damaged.
        """
        ...


class PlainVault:
    """No encryption: files are as they are."""

    source = None

    def seal(self, name: str, data: bytes) -> bytes:
        """Return ``data``."""
        del name
        return data

    def unseal(self, name: str, data: bytes) -> bytes:
        """Return ``data``, unless it is sealed."""
        if data.startswith(_MAGIC):
            raise KeyMaterialError(
                f"{name}: is encrypted, but this state directory has no vault.json; restore that "
                "from the same backup"
            )
        return data


#: What classes that keep one file take by themselves; ``StateDirectory`` gives them its own.
NO_VAULT = PlainVault()


class SealedVault:
    """An open vault. Never printed or pickled.

    Parameters
    ----------
    key : bytes
        The vault's key, 32 bytes.
    source : KeySource
    """

    __slots__ = ("_ciphers", "_key", "source")

    def __init__(self, key: bytes, *, source: KeySource) -> None:
        self._key = key
        self._ciphers: dict[str, AESGCM] = {}
        self.source: KeySource | None = source

    def __repr__(self) -> str:
        return f"<SealedVault behind a {self.source}>"

    def __reduce__(self) -> str:
        raise TypeError("a vault is secret and cannot be copied or pickled")

    def seal(self, name: str, data: bytes) -> bytes:
        """Return a sealed container, another one each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _SEALED.pack(nonce, self._cipher(name).encrypt(nonce, data, _DOMAIN + name.encode()))

    def unseal(self, name: str, data: bytes) -> bytes:
        """Return the content of a sealed container."""
        if not data.startswith(_MAGIC):
            raise KeyMaterialError(
                f"{name}: is not encrypted, but this state directory has a vault; somebody has put "
                "it there: restore it from a backup"
            )
        content = _SEALED.unpack(data, source=name)
        try:
            return self._cipher(name).decrypt(
                content[:_NONCE_BYTES], content[_NONCE_BYTES:], _DOMAIN + name.encode()
            )
        except (InvalidTag, ValueError):
            raise KeyMaterialError(
                f"{name}: does not open with this state directory's vault; it is of another file "
                "or another bank, or was changed: restore it from a backup"
            ) from None

    def _cipher(self, name: str) -> AESGCM:
        cipher = self._ciphers.get(name)
        if cipher is None:
            info = _DOMAIN + name.encode()
            kdf = HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info)
            cipher = self._ciphers[name] = AESGCM(kdf.derive(self._key))
        return cipher


def create_vault(path: Path, source: Source) -> Vault:
    """Make a vault with a fresh key, and write ``vault.json``.

    Raises
    ------
    KeyMaterialError, ConfigurationError
        If the source cannot be used, or the file exists.
    """
    key = secrets.token_bytes(_KEY_BYTES)
    wrapped = source.wrap(key, aad=_associated(source.kind, source.parameters))
    fields = {
        "format": _FORMAT,
        "version": FORMAT_VERSION,
        "source": source.kind.value,
        "parameters": dict(source.parameters),
        "wrapped_key": wrapped.hex(),
    }
    try:
        write_new(path, json.dumps(fields, indent=1).encode() + b"\n")
    except FileExistsError:
        raise KeyMaterialError(f"{path}: exists, and a vault is never overwritten") from None
    except StateError as error:
        raise KeyMaterialError(str(error)) from error
    return SealedVault(key, source=source.kind)


def source_of(path: Path) -> KeySource | None:
    """Return where the key of a vault is; None if there is no vault; raises as ``open_vault``."""
    return KeySource(_read_fields(path)["source"]) if path.exists() else None


def open_vault(path: Path, passphrase: str | None) -> Vault:
    """Open the vault of a state directory.

    Parameters
    ----------
    path : Path
        ``vault.json``; a missing one means that nothing is encrypted.
    passphrase : str or None
        The passphrase, or the PIN of the token.

    Raises
    ------
    KeyMaterialError
        If the file is damaged or readable by others, or the key source does not open it, or a
        passphrase is missing, or given for a directory that has no use for it.
    ConfigurationError
        If the key source needs a package that is not installed.
    """
    if not path.exists():
        if passphrase is not None:
            raise KeyMaterialError(
                f"{path.parent}: a passphrase was given, but this state directory is not "
                "encrypted; is this the right one?"
            )
        return PlainVault()
    fields = _read_fields(path)
    kind, parameters = KeySource(fields["source"]), fields["parameters"]
    source = _source(kind, parameters, passphrase, path)
    key = source.unwrap(bytes.fromhex(fields["wrapped_key"]), aad=_associated(kind, parameters))
    if len(key) != _KEY_BYTES:
        raise _no_vault(path, "its key has another size")
    return SealedVault(key, source=kind)


def _source(
    kind: KeySource, parameters: dict[str, Any], passphrase: str | None, path: Path
) -> Source:
    if kind is KeySource.PASSPHRASE:
        if passphrase is None:
            raise KeyMaterialError(
                f"{path.parent}: is encrypted; give its passphrase with --passphrase-file"
            )
        return PassphraseSource(passphrase, parameters)
    if kind is KeySource.PKCS11:
        try:
            module, token, key = (str(parameters[name]) for name in ("module", "token", "key"))
        except KeyError:
            raise _no_vault(path, "a parameter is missing") from None
        return Pkcs11Source(module=module, token=token, key=key, pin=passphrase)
    return KeyringSource(parameters)


def _read_fields(path: Path) -> dict[str, Any]:
    data = read_private_file(path, what="vault", hint="restore it from a backup")
    try:
        fields = json.loads(data)
        if (fields["format"], fields["version"]) != (_FORMAT, FORMAT_VERSION):
            raise _no_vault(path, "it is of another format or version")
        KeySource(fields["source"])
        bytes.fromhex(fields["wrapped_key"])
        if not isinstance(fields["parameters"], dict):
            raise _no_vault(path, "a field is malformed")
    except (ValueError, KeyError, TypeError):
        raise _no_vault(path, "a field is missing or malformed") from None
    return dict(fields)


def _associated(kind: KeySource, parameters: Any) -> bytes:
    text = json.dumps([kind.value, parameters], sort_keys=True, separators=(",", ":"))
    return _DOMAIN + text.encode()


def _no_vault(path: Path, reason: str) -> KeyMaterialError:
    return KeyMaterialError(
        f"{path}: not a vault ({reason}); restore the file that 'bank-node join' wrote"
    )
