"""Write a credit data set: one feature table per bank, one of all banks for a demo, a manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from data_gen.credit.config import CreditConfig
from data_gen.credit.schema import CREDIT_SCHEMA, FEATURES, LABEL, PROTECTED
from data_gen.credit.table import make_credit_world
from data_gen.schema.rules import CREDIT
from data_gen.settings.config import bank_names
from data_gen.writing.content import ContentDigest
from data_gen.writing.manifest import MANIFEST_NAME, file_entry, make_manifest, read_manifest
from data_gen.writing.table_files import ROW_GROUP_ROWS, check_formats, open_writers
from data_gen.writing.target import new_data_set

#: Table of all banks, for demonstrations only; its first column is ``bank``.
ALL_BANKS_NAME: Final = "all_banks"
_BANK: Final = pa.field("bank", pa.string(), nullable=False)
_DICTIONARY_COLUMNS: Final = tuple(
    column.name
    for column in CREDIT_SCHEMA.columns
    if CREDIT_SCHEMA.rule(column.name).allowed is not None
)


def write_credit(
    config: CreditConfig,
    out: Path,
    *,
    formats: Sequence[str] = ("parquet",),
    force: bool = False,
    preset: str | None = None,
) -> dict[str, Any]:
    """Generate credit applications and write them to ``out``, in memory and by this process.

    Parameters and errors are those of ``data_gen.writing.output.write``.

    Returns
    -------
    manifest : dict
        As written to ``manifest.json``.
    """
    check_formats(formats)
    with new_data_set(out, force=force) as partial:
        world = make_credit_world(config)
        everywhere = pa.schema([_BANK, *CREDIT_SCHEMA.arrow])
        banks = []
        with open_writers(
            partial / ALL_BANKS_NAME,
            everywhere,
            formats,
            dictionary=[_BANK.name, *_DICTIONARY_COLUMNS],
        ) as together:
            for bank, name in enumerate(bank_names(config.banks)):
                table = world.bank_table(bank)
                banks.append(_write_bank(table, name, partial, formats))
                named = table.add_column(0, _BANK, pa.array([name] * len(table), pa.string()))
                for start in range(0, len(named), ROW_GROUP_ROWS):
                    for writer in together.values():
                        writer.write(named.slice(start, ROW_GROUP_ROWS))
        files = [file_entry(path, partial) for path in together]
        manifest = make_manifest(
            kind=CREDIT,
            preset=preset,
            config=config.as_dict(),
            facts=_facts(config, banks, files),
            columns=CREDIT_SCHEMA.as_dict()["columns"],
            banks=banks,
        )
        (partial / MANIFEST_NAME).write_bytes(manifest)
    return read_manifest(out)


def _write_bank(
    table: pa.Table, name: str, directory: Path, formats: Sequence[str]
) -> dict[str, Any]:
    """Write one bank's table and return its entry in the manifest."""
    (directory / name).mkdir()
    digest = ContentDigest(CREDIT_SCHEMA.arrow)
    stem = directory / name / "applications"
    with open_writers(
        stem, CREDIT_SCHEMA.arrow, formats, dictionary=_DICTIONARY_COLUMNS
    ) as writers:
        for start in range(0, len(table), ROW_GROUP_ROWS):
            piece = table.slice(start, ROW_GROUP_ROWS)
            digest.update(piece)
            for writer in writers.values():
                writer.write(piece)
    defaults = int(pc.sum(table[LABEL]).as_py() or 0)
    return {
        "name": name,
        "rows": len(table),
        "default_rows": defaults,
        "default_rate": round(defaults / max(len(table), 1), 6),
        "content_sha256": digest.hexdigest(),
        "files": [file_entry(path, directory) for path in writers],
    }


def _facts(
    config: CreditConfig, banks: Sequence[dict[str, Any]], files: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the manifest's facts: period, contract, protected columns, counts of all banks."""
    rows = sum(bank["rows"] for bank in banks)
    defaults = sum(bank["default_rows"] for bank in banks)
    known = {column.name: column for column in CREDIT_SCHEMA.columns}
    features = []
    for name in FEATURES:
        allowed = CREDIT_SCHEMA.rule(name).allowed
        feature: dict[str, Any] = {"name": name, "nullable": known[name].nullable}
        if allowed is None:
            feature["type"] = "numeric"
        else:
            feature |= {"type": "categorical", "categories": list(allowed)}
        features.append(feature)
    return {
        "use": (
            "Creditworthiness of natural persons: a high-risk use under Annex III, point 5(b), "
            "of Regulation (EU) 2024/1689"
        ),
        "start_time": config.start_time,
        "end_time": config.end_time,
        "split_time": config.split_time,
        "default_rows": defaults,
        "default_rate": round(defaults / max(rows, 1), 6),
        # As in a run's data contract: `fraudfed.wire.messages.DataContract`.
        "contract": {"kind": "table", "label": LABEL, "features": features},
        "not_features": [c.name for c in CREDIT_SCHEMA.columns if c.name not in (*FEATURES, LABEL)],
        "protected": list(PROTECTED),
        "files": list(files),
    }
