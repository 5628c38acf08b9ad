"""Tables of what a data set of credit applications holds, counted from its files in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from rich.table import Table

from data_gen.checking.table_reader import read_tables
from data_gen.credit.bureau import MAX_SCORE, MIN_SCORE
from data_gen.credit.people import AGE_BANDS, EMPLOYMENTS, SEXES
from data_gen.credit.schema import CREDIT_SCHEMA, LABEL
from data_gen.describing.describe import table_of
from data_gen.describing.summary import data_files
from data_gen.rng import IntArray

_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "employment": EMPLOYMENTS,
    "age_band": AGE_BANDS,
    "sex": SEXES,
}
# Bands of the bureau score: where each begins, and how wide it is.
SCORE_STEP: Final = 50
SCORES: Final = np.arange(MIN_SCORE, MAX_SCORE, SCORE_STEP)


@dataclass(frozen=True)
class CreditSummary:
    """Rows and defaults over all banks.

    Parameters
    ----------
    groups : mapping of column to ndarray of shape (n_values, 2), dtype=int64
        Rows and defaults by value of the column.
    scores : ndarray of shape (n_bands, 2), dtype=int64
        Rows and defaults by bureau score, in bands of 50 from 300.
    """

    groups: Mapping[str, IntArray]
    scores: IntArray


def summarise_credit(directory: Path, manifest: Mapping[str, Any]) -> CreditSummary:
    """Read all files of a data set of credit applications, a piece at a time."""
    groups = {name: np.zeros((len(values), 2), dtype=np.int64) for name, values in _GROUPS.items()}
    scores = np.zeros((len(SCORES), 2), dtype=np.int64)
    used = pa.schema(
        [f for f in CREDIT_SCHEMA.arrow if f.name in (*_GROUPS, "bureau_score", LABEL)]
    )
    for bank in manifest["banks"]:
        for table in read_tables(data_files(directory, bank)[0], used):
            label = table[LABEL].to_numpy()
            for name, values in _GROUPS.items():
                text = np.asarray(table[name].to_pylist())
                for index, value in enumerate(values):
                    chosen = label[text == value]
                    groups[name][index] += (len(chosen), int(chosen.sum()))
            score = table["bureau_score"].to_pandas().to_numpy(dtype=np.float64)
            known = ~np.isnan(score)
            band = np.searchsorted(SCORES, score[known], side="right") - 1
            scores[:, 0] += np.bincount(band, minlength=len(SCORES))
            scores[:, 1] += np.bincount(band, label[known], minlength=len(SCORES)).astype(np.int64)
    return CreditSummary(groups=groups, scores=scores)


def describe_credit(manifest: Mapping[str, Any], summary: CreditSummary) -> list[Table]:
    """Return tables: one of banks, and one of default rates per attribute of applicants."""
    title = (
        f"{manifest['rows']:,} credit applications, {manifest['default_rows']:,} defaults "
        f"({100.0 * manifest['default_rate']:.2f} %), seed {manifest['seed']}, "
        f"{manifest['generator']} {manifest['generator_version']}"
    )
    banks = {bank["name"]: _cells(bank["rows"], bank["default_rows"]) for bank in manifest["banks"]}
    tables = [table_of(title, "bank", _HEADS, banks)]
    for name, values in _GROUPS.items():
        rows = {
            value: _cells(*counts)
            for value, counts in zip(values, summary.groups[name].tolist(), strict=True)
        }
        tables.append(table_of(f"defaults by {name}", name, _HEADS, rows))
    return tables


_HEADS: Final = ("applications", "defaults", "rate")


def _cells(rows: int, defaults: int) -> list[str]:
    return [f"{rows:,}", f"{defaults:,}", f"{100.0 * defaults / max(rows, 1):.2f} %"]
