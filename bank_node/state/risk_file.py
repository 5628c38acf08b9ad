"""``risk.tables``: the tables of a risk run, with the key that finds identifiers in them.

Whoever reads the file can look up any identifier; so it is private, like the keys. Having the key
in it, a bank scores without its passphrase and also after the key epoch was superseded::

    magic "FFRISKTB", version (4 bytes), length of the header (4)
    header, canonical JSON
    tables, as RiskTables.to_bytes
    SHA-256 of all of the file above (32)

Numbers are big-endian.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

from fraudfed.errors import DataError, StateError
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.tables import RiskTables

#: Raised when the file changes its meaning.
RISK_FILE_VERSION = 1

_MAGIC = b"FFRISKTB"
_HEAD = struct.Struct(">8sII")
_CHECKSUM_BYTES = 32


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
        head = _HEAD.pack(_MAGIC, RISK_FILE_VERSION, len(text))
        content = b"".join((head, text, self.keyed.tables.to_bytes()))
        return content + hashlib.sha256(content).digest()


def read_risk_file(path: Path) -> RiskFile:
    """Read the tables of a run.

    Raises
    ------
    StateError
        If the file cannot be read, is damaged, or of a newer release.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from error
    content = data[:-_CHECKSUM_BYTES]
    if data[: len(_MAGIC)] != _MAGIC or len(content) < _HEAD.size:
        raise _damaged(path, "it does not begin as risk tables")
    if hashlib.sha256(content).digest() != data[-_CHECKSUM_BYTES:]:
        raise _damaged(path, "wrong checksum")
    _, version, header_bytes = _HEAD.unpack_from(content)
    if version != RISK_FILE_VERSION:
        raise StateError(
            f"{path}: written by a newer release (format version {version}, this release reads "
            f"{RISK_FILE_VERSION}); use that release"
        )
    start = _HEAD.size + header_bytes
    try:
        header = json.loads(content[_HEAD.size : start])
        return RiskFile(
            run_id=str(header["run_id"]),
            registry_sha256=str(header["registry_sha256"]),
            keyed=KeyedTables(
                RiskTables.from_bytes(content[start:]), bytes.fromhex(header["hash_key"])
            ),
        )
    except (ValueError, KeyError, TypeError, StateError, DataError) as error:
        # The header holds a key: the message quotes nothing of it.
        raise _damaged(path, f"what is in it does not fit ({type(error).__name__})") from None


def _damaged(path: Path, what: str) -> StateError:
    return StateError(
        f"{path}: damaged: {what}; restore it from a backup, or remove it with record.json beside "
        "it and run 'bank-node risk update' with this run again"
    )
