"""Which rows a run was begun with: a bank that is started again must train on the same.

With other rows the bank's parts of the later sums would not fit those of the earlier ones, and no
other bank could notice.
"""

import hashlib
import json

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake.windows import Windows

_DOMAIN = b"fraudfed training rows v1\0"
_WINDOWS_DOMAIN = b"fraudfed windows v1\0"

#: Rows made contiguous at a time; their bytes stay in the processor's cache.
_ROWS_AT_ONCE = 1 << 12


def windows_digest(windows: Windows) -> str:
    """Return a SHA-256 over everything of all windows that a run can see, hexadecimal.

    Parameters
    ----------
    windows : Windows
        Of train, select and judge in this order; that a window is not there is part of it.
    """
    digest = hashlib.sha256(_WINDOWS_DOMAIN)
    digest.update(data_digest(windows.train).encode())
    for rows in (windows.select, windows.judge):
        digest.update(b"-" if rows is None else _judged_digest(rows).encode())
    return digest.hexdigest()


def _judged_digest(rows: JudgedRows) -> str:
    outcomes, table = (
        rows.outcomes,
        TrainingTable(
            schema=rows.schema,
            features=rows.features,
            # NaN, for a censored row, is no label of training; here it is one of three values.
            labels=rows.outcomes.labels,
            weights=rows.weights,
            max_weight=rows.max_weight,
        ),
    )
    digest = hashlib.sha256(data_digest(table).encode())
    others = {
        "is_blocked": outcomes.is_blocked,
        "event_time": outcomes.event_time,
        "amounts": outcomes.amounts,
        "customers": outcomes.customers,
        "cards": outcomes.cards,
        "accounts": outcomes.accounts,
        "is_first_seen": outcomes.is_first_seen,
        **{f"cell {name}": values for name, values in outcomes.cells.items()},
    }
    for name, values in sorted(others.items()):
        digest.update(name.encode() + b"\0")
        if values is not None:
            digest.update(b"+" + np.ascontiguousarray(values, dtype="<i8").data)
    return digest.hexdigest()


def data_digest(table: TrainingTable) -> str:
    """Return a SHA-256 over everything of the rows that training can see, hexadecimal.

    Law: two tables have the same digest exactly when schema, bound of the weights, and features,
    labels and weights in their order are the same, bit by bit, except that a missing value is a
    missing value whatever the bits of its NaN (up to a collision of SHA-256). Layout in memory
    and byte order of the machine do not matter.

    It is kept on this bank's disk only: a reader could test guesses of the rows with it.

    Parameters
    ----------
    table : TrainingTable
    """
    digest = hashlib.sha256(_DOMAIN)
    for name, n_categories in zip(table.schema.names, table.schema.n_categories, strict=True):
        text = name.encode()
        digest.update(len(text).to_bytes(8, "little") + text + n_categories.to_bytes(8, "little"))
    digest.update(json.dumps(table.schema.categories).encode())
    digest.update(np.array(table.max_weight, dtype="<f8").tobytes())
    for array in (table.features, table.labels, table.weights):
        # The number of axes in front: an array that is missing has none.
        shape = () if array is None else array.shape
        digest.update(np.array([len(shape), *shape], dtype="<u8").tobytes())
        if array is None:
            continue
        for start in range(0, len(array), _ROWS_AT_ONCE):
            block = array[start : start + _ROWS_AT_ONCE].astype("<f4", order="C", copy=True)
            block[np.isnan(block)] = np.nan
            digest.update(block.data)
    return digest.hexdigest()
