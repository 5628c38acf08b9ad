"""``manifest.json``: the data set, its configuration, and checksums of its files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from data_gen.version import GENERATOR_VERSION
from data_gen.writing.content import combined_digest
from fraudfed.errors import DataError

MANIFEST_NAME: Final = "manifest.json"
FORMAT: Final = "data-gen/2"
STATEMENT: Final = (
    "Synthetic data, no real person: every person, account, merchant, payment and loan is "
    "invented, and any resemblance is chance."
)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_entry(path: Path, root: Path) -> dict[str, Any]:
    """Return the manifest's entry of a file below ``root`` that has been written."""
    return {
        "path": path.relative_to(root).as_posix(),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
    }


def make_manifest(
    *,
    kind: str,
    preset: str | None,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    columns: Sequence[Mapping[str, Any]],
    banks: Sequence[Mapping[str, Any]],
) -> bytes:
    """Return the manifest as UTF-8 JSON, a function of its arguments alone.

    Parameters
    ----------
    kind : str
        ``TRANSACTIONS`` or ``CREDIT`` of ``data_gen.schema.rules``.
    preset : str or None
        Name of the preset that the configuration came from.
    config : mapping
        Every dial; its ``seed`` is repeated above.
    facts : mapping
        Further facts about the whole data set.
    columns : sequence of mappings
        The published schema.
    banks : sequence of mappings
        One entry per bank, each with ``name``, ``rows``, ``content_sha256`` and ``files``.
    """
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "generator": "data-gen",
        "generator_version": GENERATOR_VERSION,
        "statement": STATEMENT,
        "license": "CC0-1.0",
        "preset": preset,
        "seed": config["seed"],
        "config": dict(config),
        "rows": sum(bank["rows"] for bank in banks),
        "content_sha256": combined_digest((bank["name"], bank["content_sha256"]) for bank in banks),
        **facts,
        "columns": list(columns),
        "banks": list(banks),
    }
    return (json.dumps(manifest, indent=2, ensure_ascii=True) + "\n").encode("ascii")


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a generated data set.

    Raises
    ------
    DataError
        The manifest is missing, is not JSON, or was written by another program or version.
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
