"""Anybody's table of features as arrays on disk: rows without times, divided by their content."""

import shutil
import tempfile
from pathlib import Path

from fraudfed.boosting.table import FeatureSchema
from fraudfed.intake.windows import JUDGE, SELECT
from fraudfed.lab.demo.feature_table import Shares, open_table
from fraudfed.lab.privacy.arrays import (
    WINDOWS,
    WorldTables,
    columns_of,
    finish,
    open_world,
    write_part,
)


def write_tables(
    file: Path,
    directory: Path,
    *,
    label: str,
    bank_column: str | None,
    n_banks: int,
    seed: int,
) -> WorldTables:
    """Divide a table over banks and windows; a fifth of the rows judges, another selects.

    Parameters
    ----------
    file : Path
        Parquet or CSV.
    directory : Path
        Finished before, it is opened.
    label : str
        Column of 0 and 1.
    bank_column : str or None
        Says whose row it is; None deals rows out in unequal shares.
    n_banks : int
        Without a bank column.
    seed : int
        Of dealing.

    Raises
    ------
    DataError, ConfigurationError, CohortError
        As ``open_table``.
    """
    done = open_world(directory)
    if done is not None:
        return done
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    names: list[str] = []
    sizes: dict[str, list[int]] = {window: [] for window in WINDOWS}
    schema: FeatureSchema | None = None
    with tempfile.TemporaryDirectory(dir=directory) as work:
        data = open_table(
            file,
            mapping=None,
            label=label,
            drop=(),
            bank_column=bank_column,
            n_banks=n_banks,
            work=Path(work),
            seed=seed,
            shares=Shares(seed=seed, selects=True),
        )
        for number, bank in enumerate(data.banks):
            windows = data.load(bank, None).windows
            schema = windows.train.schema
            columns = columns_of(windows, None)
            for window, found in columns.items():
                write_part(directory, window, number, found)
                sizes[window].append(found["labels"].size)
            names.append(bank.name)
    if schema is None:
        raise ValueError("a table without banks")
    about = {
        "config": {"table": str(file.resolve()), "label": label, "seed": seed, "banks": names},
        "note": f"{JUDGE} and {SELECT}: a fifth of the rows each, drawn at random, not later ones",
    }
    return finish(directory, names, sizes, schema, about)
