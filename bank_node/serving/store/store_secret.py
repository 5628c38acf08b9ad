"""The secret of a bank's feature stores: a file in the state directory, sealed by its vault."""

import secrets
from pathlib import Path
from typing import Final

from bank_node.vault.vault import Vault
from fraudfed.durable_file import PRIVATE_DIRECTORY, write_new
from fraudfed.errors import KeyMaterialError, StateError

SECRET_BYTES: Final = 32
_FILE: Final = "store.key"
#: For the vault: below the state directory.
_NAME: Final = f"serving/{_FILE}"


def store_secret(serving: Path, vault: Vault) -> bytes:
    """Return the secret of a bank's stores, drawn when it is asked for the first time.

    Parameters
    ----------
    serving : Path
        What the service keeps: ``serving`` in the state directory.
    vault : Vault
        Of the state directory.

    Raises
    ------
    KeyMaterialError
        If the file does not open with this vault, or cannot be read.
    StateError
        If it cannot be written.
    """
    path = serving / _FILE
    try:
        serving.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        if not path.exists():
            write_new(path, vault.seal(_NAME, secrets.token_bytes(SECRET_BYTES)))
        secret = vault.unseal(_NAME, path.read_bytes())
    except OSError as error:
        raise StateError(
            f"{path}: cannot be used ({error.strerror or error}), expected a file of this user; "
            "mend owner and mode"
        ) from error
    if len(secret) != SECRET_BYTES:
        raise KeyMaterialError(
            f"{path}: has {len(secret)} bytes, expected {SECRET_BYTES}; restore it from a backup"
        )
    return secret
