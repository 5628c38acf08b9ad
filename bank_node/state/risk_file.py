"""``risk.tables``: the tables of a risk run, with the key that finds identifiers in them.

Anybody who reads the content can look up any identifier; so it is sealed, like the keys. Having
the key in it, a bank scores also after the key epoch was superseded.

It is a ``fraudfed.container`` of one line of canonical JSON, the header, and behind it
``RiskTables.to_bytes``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from bank_node.vault.vault import Vault
from fraudfed.container import Container
from fraudfed.errors import DataError, StateError
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.tables import RiskTables

_CONTAINER = Container(
    magic=b"FFRISKTB",
    version=1,
    what="risk tables",
    advice="restore it from a backup, or remove it with record.json beside it and run "
    "'bank-node risk update' with this run again",
)


@dataclass(frozen=True, eq=False)
class RiskFile:
    """The result of a risk run as a bank keeps it. Never leaves the bank.

    Attributes
    ----------
    run_id : str
    registry_sha256 : str
        Hash of the result as it is registered: what a data contract names it by.
    keyed : KeyedTables
    """

    run_id: str
    registry_sha256: str
    keyed: KeyedTables

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        header = {
            "run_id": self.run_id,
            "registry_sha256": self.registry_sha256,
            "hash_key": self.keyed.hash_key.hex(),
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        return _CONTAINER.pack(text, b"\n", self.keyed.tables.to_bytes())


def read_risk_file(path: Path, *, vault: Vault, name: str) -> RiskFile:
    """Read the tables of a run.

    Parameters
    ----------
    path : Path
    vault : Vault
    name : str
        What the vault knows the file by.

    Raises
    ------
    StateError
        If the file cannot be read, is damaged, or of another release.
    KeyMaterialError
        If it does not open.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from error
    header, _, tables = _CONTAINER.unpack(vault.unseal(name, data), source=str(path)).partition(
        b"\n"
    )
    try:
        fields = json.loads(header)
        return RiskFile(
            run_id=str(fields["run_id"]),
            registry_sha256=str(fields["registry_sha256"]),
            keyed=KeyedTables(RiskTables.from_bytes(tables), bytes.fromhex(fields["hash_key"])),
        )
    except (ValueError, KeyError, TypeError, StateError, DataError) as error:
        # The header holds a key: the message quotes nothing of it.
        what = f"what is in it does not fit ({type(error).__name__})"
        raise _CONTAINER.damaged(what, source=str(path)) from None
