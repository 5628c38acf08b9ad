"""``manifest.json``: what was made, from what, and how to check that it is unchanged."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_gen.categories import CATEGORY_NAMES
from data_gen.config import WorldConfig
from data_gen.errors import DataError
from data_gen.events import CHANNEL_NAMES, KIND_NAMES
from data_gen.schema import COLUMNS
from data_gen.version import GENERATOR_VERSION
from data_gen.world import BankTransactions

__all__ = ["MANIFEST_NAME", "bank_summary", "make_manifest", "read_manifest", "sha256_of"]

MANIFEST_NAME: Final = "manifest.json"
FORMAT: Final = "data-gen/1"
STATEMENT: Final = (
    "Synthetic data. No real person, account, merchant or payment is described; "
    "any resemblance is chance."
)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bank_summary(transactions: BankTransactions, files: Sequence[Path]) -> dict[str, Any]:
    """Return the manifest's entry of one bank whose files have been written."""
    events = transactions.events
    channels = np.bincount(events.channel, minlength=len(CHANNEL_NAMES))
    kinds = np.bincount(events.kind[events.kind >= 0], minlength=len(KIND_NAMES))
    return {
        "name": transactions.name,
        "customers": len(transactions.side.customers),
        "rows": len(events),
        "fraud_rows": int(kinds.sum()),
        "fraud_rate": round(float(kinds.sum() / max(len(events), 1)), 6),
        "first_event_time": int(events.time[0]) if len(events) else None,
        "last_event_time": int(events.time[-1]) if len(events) else None,
        "channels": {n: int(c) for n, c in zip(CHANNEL_NAMES, channels, strict=True)},
        "fraud_kinds": {n: int(c) for n, c in zip(KIND_NAMES, kinds, strict=True)},
        "files": [
            {
                "path": f"{path.parent.name}/{path.name}",
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
            for path in files
        ],
    }


def make_manifest(
    config: WorldConfig, banks: Sequence[dict[str, Any]], *, preset: str | None = None
) -> bytes:
    """Return the manifest as UTF-8 JSON, a function of its arguments alone."""
    rows = sum(bank["rows"] for bank in banks)
    fraud_rows = sum(bank["fraud_rows"] for bank in banks)
    kinds = {name: sum(bank["fraud_kinds"][name] for bank in banks) for name in KIND_NAMES}
    manifest = {
        "format": FORMAT,
        "generator": "data-gen",
        "generator_version": GENERATOR_VERSION,
        "statement": STATEMENT,
        "license": "CC0-1.0",
        "preset": preset,
        "seed": config.seed,
        "config": config.as_dict(),
        "start_time": config.start_time,
        "end_time": config.end_time,
        "split_time": config.split_time,
        "label_delay_seconds": config.label_delay_seconds,
        "rows": rows,
        "fraud_rows": fraud_rows,
        "fraud_rate": round(fraud_rows / max(rows, 1), 6),
        "fraud_kinds": kinds,
        "merchant_categories": list(CATEGORY_NAMES),
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "unit": column.unit or None,
                "nullable": column.nullable,
                "meaning": column.meaning,
            }
            for column in COLUMNS
        ],
        "banks": list(banks),
    }
    return (json.dumps(manifest, indent=2, ensure_ascii=True) + "\n").encode("ascii")


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a generated data set.

    Raises
    ------
    DataError
        There is none, it is not JSON, or another program or version wrote it.
    """
    path = directory / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); "
            "expected a directory written by 'data-gen generate'"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); write the data set again") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DataError(f"{path}: format is {found!r}, expected {FORMAT!r}; write the set again")
    return dict(manifest)
