"""Write a world to a directory: all of it or nothing, and the same bytes for the same seed.

The files are written to a hidden directory beside the target and moved into place at the end.
Parquet files hold no time, host or Arrow schema. The one thing that depends on a library is
Parquet's own ``created_by`` (the version of the writer), so bytes are the same for the same
version of pyarrow; CSV files do not depend on it.
"""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from data_gen.config import WorldConfig
from data_gen.errors import ConfigurationError, DataError, OutputError
from data_gen.manifest import MANIFEST_NAME, bank_summary, make_manifest, read_manifest
from data_gen.schema import ARROW_SCHEMA
from data_gen.world import BankTransactions, World, make_bank, make_world

__all__ = ["FORMATS", "write", "write_bank"]

FORMATS: Final = ("parquet", "csv")
# Rows converted and written at a time; also the row group size, so it is part of the bytes.
ROW_GROUP_ROWS: Final = 131_072
_DICTIONARY_COLUMNS: Final = [
    "customer_id",
    "merchant_id",
    "terminal_id",
    "payee_id",
    "channel",
    "merchant_category",
    "fraud_kind",
]


def write(
    config: WorldConfig,
    out: Path,
    *,
    formats: Sequence[str] = ("parquet",),
    workers: int = 1,
    force: bool = False,
    preset: str | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Generate a world and write it to ``out``.

    Parameters
    ----------
    config : WorldConfig
    out : Path
        Made by this call; may exist if empty, or if ``force`` and written by this program.
    formats : sequence of str
        ``"parquet"``, ``"csv"`` or both.
    workers : int
        Processes, each working on one bank at a time; the output does not depend on it.
    force : bool
        Replace a data set that is already there.
    preset : str, optional
        Name of the preset the configuration came from, for the manifest.
    on_progress : callable, optional
        Called with a number of customers whenever their transactions are done.

    Returns
    -------
    manifest : dict
        As written to ``manifest.json``.

    Raises
    ------
    ConfigurationError
        Unknown format, or ``workers`` below 1.
    OutputError
        ``out`` is in use, not writable or not ours to replace, or a worker was ended from
        outside. Nothing is left behind.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise ConfigurationError(f"formats: got {unknown or 'none'}, expected parquet or csv")
    if not 1 <= workers <= 1024:
        raise ConfigurationError(f"workers: got {workers}, expected a number from 1 to 1024")
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a symbolic link
    _check_target(out, force=force)
    temporary = _make_temporary(out)
    try:
        banks = _write_banks(config, temporary, tuple(formats), workers, on_progress)
        (temporary / MANIFEST_NAME).write_bytes(make_manifest(config, banks, preset=preset))
        _move_into_place(temporary, out)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({error.strerror or error}); "
            "nothing was left there, free some space or choose another --out"
        ) from error
    except BrokenProcessPool as error:
        raise OutputError(
            f"{out}: a worker process was ended from outside, often for want of memory; "
            "nothing was left there, use fewer --workers or --customers"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read_manifest(out)


def write_bank(
    transactions: BankTransactions, directory: Path, formats: Sequence[str]
) -> list[Path]:
    """Write one bank's files into ``directory`` and return their paths, Parquet first."""
    directory.mkdir(parents=True)
    paths = []
    if "parquet" in formats:
        paths.append(directory / "transactions.parquet")
        _write_parquet(transactions, paths[-1])
    if "csv" in formats:
        paths.append(directory / "transactions.csv")
        _write_csv(transactions, paths[-1])
    return paths


def _write_parquet(transactions: BankTransactions, path: Path) -> None:
    with pq.ParquetWriter(
        path,
        ARROW_SCHEMA,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=_DICTIONARY_COLUMNS,
        write_statistics=True,
        store_schema=False,
    ) as writer:
        for start in range(0, len(transactions), ROW_GROUP_ROWS):
            writer.write_table(
                transactions.to_table(start, start + ROW_GROUP_ROWS), row_group_size=ROW_GROUP_ROWS
            )


def _write_csv(transactions: BankTransactions, path: Path) -> None:
    # No identifier or name holds a comma, quote or line break, so nothing needs quoting.
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write((",".join(ARROW_SCHEMA.names) + "\n").encode("ascii"))
        for start in range(0, len(transactions), ROW_GROUP_ROWS):
            pa_csv.write_csv(transactions.to_table(start, start + ROW_GROUP_ROWS), file, options)


def _write_banks(
    config: WorldConfig,
    directory: Path,
    formats: tuple[str, ...],
    workers: int,
    on_progress: Callable[[int], None] | None,
) -> list[dict[str, Any]]:
    """Write all banks and return their manifest entries in the order of the banks."""
    if workers == 1 or config.banks == 1:
        world = make_world(config)
        return [
            _write_one(world, bank, directory, formats, on_progress) for bank in range(config.banks)
        ]
    # "spawn" gives every platform the same clean children: no locks or threads are inherited.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, config.banks), mp_context=context) as pool:
        futures = [
            pool.submit(_write_in_worker, config, bank, directory, formats)
            for bank in range(config.banks)
        ]
        try:
            for future in as_completed(futures):
                if on_progress is not None:
                    on_progress(future.result()["customers"])
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_in_worker(
    config: WorldConfig, bank: int, directory: Path, formats: tuple[str, ...]
) -> dict[str, Any]:
    # The shared world takes milliseconds to make, less than to send.
    return _write_one(make_world(config), bank, directory, formats, None)


def _write_one(
    world: World,
    bank: int,
    directory: Path,
    formats: tuple[str, ...],
    on_progress: Callable[[int], None] | None,
) -> dict[str, Any]:
    transactions = make_bank(world, bank, on_progress)
    files = write_bank(transactions, directory / transactions.name, formats)
    return bank_summary(transactions, files)


def _check_target(out: Path, *, force: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out}: is a file, expected a directory; choose another --out")
    try:
        empty = not any(out.iterdir())
    except OSError as error:
        raise OutputError(f"{out}: cannot be read ({error.strerror}); choose another") from error
    if empty:
        return
    if not force:
        raise OutputError(
            f"{out}: not empty; choose another --out, or --force to replace a data set"
        )
    try:
        read_manifest(out)
    except DataError as error:
        raise OutputError(
            f"{out}: not empty and not written by data-gen; "
            "--force replaces only such data sets, choose another --out"
        ) from error


def _make_temporary(out: Path) -> Path:
    """Return a new directory on the same file system as ``out``."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        temporary.chmod(0o755)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be made ({error.strerror}); choose an --out that you may write to"
        ) from error
    return temporary


def _move_into_place(temporary: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        # On POSIX a rename replaces an empty directory.
        temporary.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(old)
    try:
        temporary.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)
