"""What judging the model at the end of a training or search takes and shows, for a person."""

from collections.abc import Iterator
from typing import Final

from fraudfed.boosting.score_cells import N_CELLS, N_COARSE_CELLS
from fraudfed.evaluation.own_rows import N_CLASSES, READINGS
from fraudfed.evaluation.plan import LEAST_CASES, PAYMENT_GROUPS
from fraudfed.wire.messages import DataContract

#: Sums at the end: rows, scores, what thresholds find.
JUDGING_ROUNDS: Final = 3


def is_judged(contract: DataContract, *, selects: bool) -> bool:
    """Tell whether a run keeps rows to judge its model by.

    Parameters
    ----------
    contract : DataContract
    selects : bool
        Whether a table's rows are divided: for early stopping, or to compare candidates.
    """
    if contract.kind == "table":
        return selects
    return contract.select_until is not None or contract.judge_until is not None


def judging_values(contract: DataContract) -> int:
    """Return how many counts are summed at most."""
    values = N_CLASSES * N_CELLS
    if contract.kind == "transactions":
        cells = sum(len(group) for group in PAYMENT_GROUPS.values())
        values += 2 * N_COARSE_CELLS * (len(READINGS) + cells)
    return values


def judging_reveals(contract: DataContract) -> Iterator[str]:
    """Yield what judging shows of the rows of all banks together."""
    groups = ""
    if contract.kind == "transactions":
        names = ", ".join(name.replace("_", " ") for name in PAYMENT_GROUPS)
        groups = (
            f"; the same, coarser, of each value of {names} with {LEAST_CASES} cases or more, and "
            "of accounts; how many cases, cards and how much money a few thresholds on the score "
            "find; the numbers of rows, frauds and cases of every such value"
        )
    yield (
        "At the end, of the payments that judge the model: how many of each label (blocked, first "
        f"seen) have a score in each of {N_CELLS:,} public ranges, often a single one{groups}. "
        "Which bank has them is not shown."
    )
