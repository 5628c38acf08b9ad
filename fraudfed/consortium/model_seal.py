"""A model, or a training so far, sealed to the members: every member seals the same bytes.

Law: ``open_model(seal_model(model)) == model`` for everyone with the consortium secret, and for
nobody else; sealing the same model of the same run twice gives the same bytes, so that the banks
can agree on the hash of a model that their registry cannot read.

AES-GCM-SIV (RFC 8452) under a key derived from consortium secret and run, with a nonce derived
from the model's hash. Sealing is deterministic on purpose; what that betrays - whether two sealed
models of one run are equal - is what the registry has to know. A nonce that repeats by a collision
of the 96 bits would betray no more than that either (RFC 8452, section 1).
"""

import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fraudfed.errors import KeyMaterialError

#: RFC 8452: a 96-bit nonce in front and a 128-bit tag behind.
_NONCE_BYTES = 12
SEAL_OVERHEAD_BYTES = _NONCE_BYTES + 16

_MODEL = b"fraudfed sealed model v1\0"
_HANDOVER = b"fraudfed sealed handover v1\0"
_NONCE_DOMAIN = b"fraudfed sealed model nonce v1\0"


class _SecretHolder(Protocol):
    """``fraudfed.consortium.key_package.KeyPackage``."""

    def expose_secret(self) -> bytes:
        """Return the consortium secret."""
        ...


def seal_model(model: bytes, *, holder: _SecretHolder, run_id: str) -> bytes:
    """Return the sealed model, ``SEAL_OVERHEAD_BYTES`` longer than the model."""
    return _seal(model, _key(holder, _MODEL, run_id), run_id.encode())


def open_model(sealed: bytes, *, holder: _SecretHolder, run_id: str) -> bytes:
    """Return the model.

    Raises
    ------
    KeyMaterialError
        If it was altered, or sealed in another run or under another consortium secret.
    """
    key, associated = _key(holder, _MODEL, run_id), run_id.encode()
    return _open(sealed, key, associated, what=f"run {run_id}: the sealed model")


def seal_handover(data: bytes, *, holder: _SecretHolder, run_id: str, generation: int) -> bytes:
    """Return what is handed to the entrants of a generation; the same bytes at every bank."""
    return _seal(data, _key(holder, _HANDOVER, run_id), _place(run_id, generation))


def open_handover(sealed: bytes, *, holder: _SecretHolder, run_id: str, generation: int) -> bytes:
    """Return what ``seal_handover`` sealed; raises KeyMaterialError as ``open_model``."""
    key, associated = _key(holder, _HANDOVER, run_id), _place(run_id, generation)
    what = f"run {run_id}: the handover to generation {generation}"
    return _open(sealed, key, associated, what=what)


def _seal(data: bytes, key: bytes, associated: bytes) -> bytes:
    nonce = hashlib.sha256(_NONCE_DOMAIN + hashlib.sha256(data).digest()).digest()[:_NONCE_BYTES]
    return nonce + AESGCMSIV(key).encrypt(nonce, data, associated)


def _open(sealed: bytes, key: bytes, associated: bytes, *, what: str) -> bytes:
    try:
        return AESGCMSIV(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
    except (InvalidTag, ValueError):
        raise KeyMaterialError(
            f"{what} does not open; it was altered, or this bank does not hold the key package of "
            "the run's key epoch"
        ) from None


def _place(run_id: str, generation: int) -> bytes:
    return generation.to_bytes(8, "big") + run_id.encode()


def _key(holder: _SecretHolder, domain: bytes, run_id: str) -> bytes:
    """Derive the AEAD key of one run and use (HKDF, RFC 5869)."""
    return HKDF(
        algorithm=hashes.SHA256(), length=32, salt=None, info=domain + run_id.encode()
    ).derive(holder.expose_secret())
