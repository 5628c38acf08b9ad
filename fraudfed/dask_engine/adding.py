"""What parts say, put together: integers add up, whatever the order of the parts.

Nothing is changed in place: an answer is a result of Dask, which another task may read as well.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from fraudfed.boosting.shard.protocol import SumsOfNodes
from fraudfed.dask_engine.requests import Answer


def add_answers(answers: Sequence[Answer]) -> Answer:
    """Put the answers of some parts together.

    Parameters
    ----------
    answers : sequence of Answer
        At least one.
    """
    refusals = [each for each in answers if each.refusal is not None]
    if refusals:
        return min(refusals, key=lambda each: each.refused_by)
    values = [each.value for each in answers if each.value is not None]
    return Answer(
        value=reduce(_added, values) if values else None,
        astray=tuple(number for each in answers for number in each.astray),
    )


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, np.ndarray):
        return one + other
    if isinstance(one, SumsOfNodes):
        return SumsOfNodes(one.histograms + other.histograms, one.totals + other.totals)
    if isinstance(one, Mapping):
        return {name: one[name] + other[name] for name in one}
    if isinstance(one, tuple) and isinstance(one[0], np.ndarray):
        return merged_cases(one, other)
    # Lists of facts about parts.
    return [*one, *other]


def owned(value: Any) -> Any:
    """Return an answer whose arrays are this process's own: aligned, and not read-only.

    What travels arrives in the middle of a message.
    """
    if isinstance(value, np.ndarray):
        return np.require(value, requirements=("A", "W"))
    if isinstance(value, SumsOfNodes):
        return SumsOfNodes(owned(value.histograms), owned(value.totals))
    if isinstance(value, Mapping):
        return {name: owned(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(owned(each) for each in value)
    return value


def merged_cases(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """Put margins with their numbers of rows together (``BoostedRows.case_margins``)."""
    margins, inverse = np.unique(np.concatenate((one[0], other[0])), return_inverse=True)
    counts = np.zeros(margins.size, dtype=np.int64)
    np.add.at(counts, inverse.reshape(-1), np.concatenate((one[1], other[1])))
    return margins, counts
