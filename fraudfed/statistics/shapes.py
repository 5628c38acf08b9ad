"""What identifiers look like, as they enter the hash: case, digits, blanks, zeros, length.

Identifiers of two banks are the same only if every character is. Where one bank writes them in
another case, or its spreadsheet has cut their zeros, none of them meets those of the others.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from fraudfed.dtypes import Int64Array

#: The last cell is of all longer ones.
_LONGEST: Final = 64

#: Facet -> its cells. An identifier has one cell of each.
SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "case": ("no letters", "capitals", "small letters", "both cases"),
    "digits": ("none", "some", "all"),
    "blanks": ("none", "inside", "at an end"),
    "zeros": ("no leading zero", "leading zero"),
    "alphabet": ("ASCII", "beyond ASCII"),
    "length": (*(str(length) for length in range(_LONGEST)), f"{_LONGEST} or more"),
}


def shape_counts(identifiers: Sequence[str]) -> dict[str, Int64Array]:
    """Count distinct identifiers in the cells of every facet.

    Parameters
    ----------
    identifiers : sequence of str
        Distinct.

    Returns
    -------
    dict of str to ndarray of shape (n_cells,), dtype=int64
        Each adds up to the number of identifiers.
    """
    return {
        facet: np.bincount(
            np.fromiter((_CELL_OF[facet](text) for text in identifiers), np.int64),
            minlength=len(cells),
        ).astype(np.int64)
        for facet, cells in SHAPES.items()
    }


def _case(text: str) -> int:
    capitals = any(c.isupper() for c in text)
    small = any(c.islower() for c in text)
    return capitals + 2 * small


def _digits(text: str) -> int:
    n_digits = sum(c.isdigit() for c in text)
    return 0 if n_digits == 0 else 1 + (n_digits == len(text))


def _blanks(text: str) -> int:
    if text != text.strip():
        return 2
    return int(any(c.isspace() for c in text))


_CELL_OF: Final[dict[str, Callable[[str], int]]] = {
    "case": _case,
    "digits": _digits,
    "blanks": _blanks,
    "zeros": lambda text: int(text.startswith("0")),
    "alphabet": lambda text: int(not text.isascii()),
    "length": lambda text: min(len(text), _LONGEST),
}
