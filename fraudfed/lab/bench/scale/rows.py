"""Rows without an end, made and written a block at a time: the same arguments give the same files.

Nothing here holds more than one block, so a bank's rows may be more than the machine's memory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fraudfed.dtypes import Float32Array
from fraudfed.lab.bench.workload import LABEL
from fraudfed.wire.messages import DataContract, FeatureSpec

#: Rows of a block, and of a file.
BLOCK_ROWS: Final = 500_000
#: Rows that say above which score a row is fraud; the same for every size.
_CALIBRATION_ROWS: Final = 200_000
#: Numbers of random streams beside those of banks, which count from 0.
_CALIBRATION: Final = 1 << 31


def feature_names(n_features: int) -> tuple[str, ...]:
    """Return the names of the columns."""
    return tuple(f"f{feature}" for feature in range(n_features))


def scale_contract(n_features: int) -> DataContract:
    """Return the data contract of the files."""
    features = tuple(FeatureSpec(name=name) for name in feature_names(n_features))
    return DataContract(kind="table", features=features, label=LABEL)


def bank_rows(n_rows: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Return the rows of each bank; each has one at least."""
    ends = np.round(np.cumsum(shares) / np.sum(shares) * n_rows).astype(np.int64)
    return tuple(max(int(rows), 1) for rows in np.diff(ends, prepend=0))


def write_banks(
    sizes: Sequence[int], n_features: int, folder: Path, *, prevalence: float, seed: int
) -> dict[str, Path]:
    """Write each bank's rows as a directory of Parquet files.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each bank.
    n_features : int
    folder : Path
    prevalence : float
        Share of labels that are 1, in (0, 1), within what a draw leaves to chance.
    seed : int

    Returns
    -------
    dict of bank name to directory
    """
    threshold = _threshold(n_features, prevalence, seed)
    directories = {}
    for bank, n_rows in enumerate(sizes):
        directory = folder / f"bank_{bank + 1:02d}"
        directory.mkdir(parents=True)
        for number, (features, score) in enumerate(_blocks(bank, n_rows, n_features, seed)):
            columns = [pa.array(features[:, feature]) for feature in range(n_features)]
            labels = pa.array((score > threshold).astype(np.int8))
            table = pa.table([*columns, labels], names=[*feature_names(n_features), LABEL])
            pq.write_table(table, directory / f"rows-{number:05d}.parquet", compression="lz4")
        directories[directory.name] = directory
    return directories


def _threshold(n_features: int, prevalence: float, seed: int) -> float:
    rng = np.random.default_rng([seed, _CALIBRATION])
    _, score = _block(_CALIBRATION_ROWS, n_features, rng)
    return float(np.quantile(score, 1.0 - prevalence))


def _blocks(
    bank: int, n_rows: int, n_features: int, seed: int
) -> Iterator[tuple[Float32Array, Float32Array]]:
    for number, start in enumerate(range(0, n_rows, BLOCK_ROWS)):
        rng = np.random.default_rng([seed, bank, number])
        yield _block(min(BLOCK_ROWS, n_rows - start), n_features, rng)


def _block(
    n_rows: int, n_features: int, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Draw features and the score that makes a row fraud: steps and products, as ``workload``."""
    features = rng.standard_normal((n_rows, n_features), dtype=np.float32)
    score = rng.standard_normal(n_rows, dtype=np.float32)
    for feature in range(0, n_features, 2):
        column = features[:, feature]
        strength = np.float32(1.5 / (1 + feature / 4))
        score += strength * np.where(column > 0, np.float32(1.0), np.float32(-0.5))
        if feature + 1 < n_features:
            score += np.float32(0.3) * strength * np.tanh(column) * features[:, feature + 1]
    # Skewed, like amounts: every third feature. A monotone change, which no tree sees.
    features[:, ::3] = np.exp(features[:, ::3])
    return features, score
