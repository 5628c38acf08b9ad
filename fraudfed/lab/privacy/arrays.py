"""Windows of many banks' rows as arrays on disk, which training reads as memory maps."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib.format import open_memmap

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.durable_file import write_atomic
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.intake.windows import JUDGE, SELECT, TRAIN, Windows

WINDOWS: Final = (TRAIN, SELECT, JUDGE)
#: What is known of each row beside its features, where it is; ``customers`` are codes of one bank.
_COLUMNS = ("labels", "customers", "event_time", "is_blocked")
_FINISHED = "world.json"


@dataclass(frozen=True, eq=False)
class WorldTables:
    """Windows of a world's banks on disk.

    Attributes
    ----------
    directory : Path
    facts : dict
        The content of ``world.json``: ``config`` and ``note``, ``schema``, ``banks``, and ``rows``
        of each bank in each window.
    """

    directory: Path
    facts: dict[str, Any]

    @cached_property
    def schema(self) -> FeatureSchema:
        """What the columns are, shared features at the end."""
        found = self.facts["schema"]
        return FeatureSchema(
            tuple(found["names"]),
            tuple(found["n_categories"]),
            tuple(tuple(names) for names in found["categories"]),
        )

    @property
    def banks(self) -> tuple[str, ...]:
        """Names, the largest bank first."""
        return tuple(self.facts["banks"])

    @property
    def n_own(self) -> int:
        """Features that a bank has without shared risk: the first ones."""
        return sum(not name.startswith("shared_") for name in self.schema.names)

    def rows(self, window: str, bank: str | None = None) -> slice:
        """Return where the rows of a bank lie in a window; None for all banks."""
        sizes: list[int] = self.facts["rows"][window]
        if bank is None:
            return slice(0, sum(sizes))
        index = self.banks.index(bank)
        start = sum(sizes[:index])
        return slice(start, start + sizes[index])

    def column(self, window: str, name: str) -> Any:
        """Return a column of all banks' rows in a window, as a memory map."""
        return np.load(self.directory / f"{window}_{name}.npy", mmap_mode="r")

    def training_table(self, *, shared: bool, bank: str | None = None) -> TrainingTable:
        """Return the rows that train, with or without shared features."""
        rows = self.rows(TRAIN, bank)
        return TrainingTable(
            schema=self.schema_of(shared=shared),
            features=self.features(TRAIN, shared=shared)[rows],
            labels=np.array(self.column(TRAIN, "labels")[rows]),
        )

    def judged_rows(self, window: str, *, shared: bool, bank: str | None = None) -> JudgedRows:
        """Return rows that select or judge; customers are told apart across banks."""
        rows = self.rows(window, bank)
        found: dict[str, Any] = {
            name: np.array(self.column(window, name)[rows])
            for name in _COLUMNS
            if (self.directory / f"{window}_{name}.npy").exists()
        }
        return JudgedRows(
            schema=self.schema_of(shared=shared),
            features=self.features(window, shared=shared)[rows],
            outcomes=Outcomes(**found),
        )

    @property
    def has_shared(self) -> bool:
        """Whether there are features of shared risk."""
        return self.n_own < self.schema.n_features

    def schema_of(self, *, shared: bool) -> FeatureSchema:
        """Return what the columns are with or without shared features."""
        whole = self.schema
        stop = whole.n_features if shared else self.n_own
        return FeatureSchema(whole.names[:stop], whole.n_categories[:stop], whole.categories[:stop])

    def features(self, window: str, *, shared: bool) -> Float32Array:
        """Return features of all banks; a memory map of shape (n_rows, n_features)."""
        stop = self.schema.n_features if shared else self.n_own
        columns: Float32Array = self.column(window, "features")
        return columns[:stop].T


def open_world(directory: Path) -> WorldTables | None:
    """Return the world in a directory, or None if it was not finished."""
    file = directory / _FINISHED
    return WorldTables(directory, json.loads(file.read_text())) if file.is_file() else None


def columns_of(
    windows: Windows, training_customers: Int64Array | None
) -> dict[str, dict[str, Any]]:
    """Return the columns of a bank's windows: features, and what is known of each row.

    Parameters
    ----------
    windows : Windows
        With rows that select and rows that judge.
    training_customers : ndarray of shape (n_training_rows,), dtype=int64, or None
        Codes of one bank; None where nobody knows.
    """
    found: dict[str, dict[str, Any]] = {
        TRAIN: {"features": windows.train.features, "labels": windows.train.labels}
    }
    if training_customers is not None:
        if training_customers.size != windows.train.n_rows:
            raise ValueError("customers of other rows than those that train")
        found[TRAIN]["customers"] = training_customers
    for window, judged in ((SELECT, windows.select), (JUDGE, windows.judge)):
        if judged is None:
            raise ValueError(f"rows without a window that {window}s")
        outcomes = judged.outcomes
        columns = {name: getattr(outcomes, name) for name in _COLUMNS}
        found[window] = {"features": judged.features}
        found[window] |= {name: each for name, each in columns.items() if each is not None}
    return found


def finish(
    directory: Path,
    banks: Sequence[str],
    sizes: Mapping[str, Sequence[int]],
    schema: FeatureSchema,
    about: Mapping[str, Any],
) -> WorldTables:
    """Lay the banks' parts behind each other, and say what they are.

    Parameters
    ----------
    directory : Path
    banks : sequence of str
    sizes : mapping of window to sequence of int
        Rows of each bank.
    schema : FeatureSchema
        Shared features at the end.
    about : mapping
        ``config`` and ``note``.
    """
    for window in WINDOWS:
        _join_parts(directory, window, sizes[window])
    facts = {
        **about,
        "banks": list(banks),
        "rows": {window: list(rows) for window, rows in sizes.items()},
        "schema": {
            "names": schema.names,
            "n_categories": schema.n_categories,
            "categories": schema.categories,
        },
    }
    write_atomic(directory / _FINISHED, json.dumps(facts, indent=1).encode())
    return WorldTables(directory, json.loads(json.dumps(facts)))


def write_part(directory: Path, window: str, bank: int, columns: Mapping[str, Any]) -> None:
    """Write the columns of a bank's window, before ``finish`` lays the banks' behind each other."""
    for name, values in columns.items():
        # Features lie column by column, as binning reads them.
        np.save(directory / f"{window}_{name}.{bank}.npy", np.ascontiguousarray(values.T))


def _join_parts(directory: Path, window: str, sizes: Sequence[int]) -> None:
    """Lay the banks' arrays of a window behind each other, and remove them."""
    n_rows = sum(sizes)
    for name in ("features", *_COLUMNS):
        files = [directory / f"{window}_{name}.{bank}.npy" for bank in range(len(sizes))]
        if not all(file.exists() for file in files):
            continue
        first = np.load(files[0], mmap_mode="r")
        whole = open_memmap(
            directory / f"{window}_{name}.npy",
            mode="w+",
            dtype=first.dtype,
            shape=(*first.shape[:-1], n_rows),
        )
        stop, customers = 0, 0
        for file, size in zip(files, sizes, strict=True):
            start, stop = stop, stop + size
            part = np.load(file, mmap_mode="r")
            if name == "customers":
                # Codes of one bank: those of the next begin behind them.
                whole[start:stop] = part + customers
                customers += int(part.max(initial=-1)) + 1
            else:
                whole[..., start:stop] = part
            del part
            file.unlink()
        whole.flush()
