"""What a run's own record says of its model: the verdict that every bank has signed for.

A record is read as plain JSON, so that a report needs no bank node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fraudfed.errors import StateError
from fraudfed.evaluation.fairness import GroupGap, gaps
from fraudfed.evaluation.report import GroupMetrics
from fraudfed.evaluation.score_histogram import ReliabilityBin

_GROUPS: Final = TypeAdapter(tuple[GroupMetrics, ...])
_RELIABILITY: Final = TypeAdapter(tuple[ReliabilityBin, ...])


@dataclass(frozen=True)
class Curve:
    """How a candidate of a search did, tree by tree.

    Attributes
    ----------
    name : str
    points : tuple of (int, float)
        Trees, and the mean of the banks' AUPRC on the select window.
    is_winner : bool
    """

    name: str
    points: tuple[tuple[int, float], ...]
    is_winner: bool


@dataclass(frozen=True)
class JudgedFacts:
    """What all banks' rows say of the model, beside its AUPRC.

    Attributes
    ----------
    note : str
        Which rows judged.
    rows, frauds, cases : int
    alerts : int
        The whole budget, which the groups' rates are at.
    reliability : tuple of ReliabilityBin
    groups : tuple of GroupMetrics
    gaps : tuple of GroupGap
    curves : tuple of Curve
        Of the search; empty after a training.
    """

    note: str
    rows: int
    frauds: int
    cases: int
    alerts: int
    reliability: tuple[ReliabilityBin, ...]
    groups: tuple[GroupMetrics, ...]
    gaps: tuple[GroupGap, ...]
    curves: tuple[Curve, ...]


def read_groups(found: Any) -> tuple[GroupMetrics, ...]:
    """Return the groups of a record's verdict.

    Raises
    ------
    StateError
        If they have other fields than this release writes.
    """
    try:
        return _GROUPS.validate_python(found)
    except ValidationError:
        raise StateError(
            "record.json: /result/verdict/report/groups has not the fields of this release; use "
            "the fraudfed release that wrote the record"
        ) from None


def judged_facts(result: Mapping[str, Any]) -> JudgedFacts | None:
    """Read the ``result`` of a run's record; None if no rows were judged.

    Raises
    ------
    StateError
        As ``read_groups``.
    """
    verdict = result.get("verdict") or {}
    report = verdict.get("report")
    if report is None:
        return None
    known = report["readings"][0]
    groups = read_groups(report["groups"])
    return JudgedFacts(
        note=verdict["note"],
        rows=known["rows"],
        frauds=known["frauds"],
        cases=known["cases"],
        alerts=known["at_budget"]["alerts"],
        reliability=_RELIABILITY.validate_python(known["reliability"]),
        groups=groups,
        gaps=gaps(groups),
        curves=tuple(
            Curve(
                name=one["name"],
                points=tuple((point["trees"], point["mean_of_banks"]) for point in one["curve"]),
                is_winner=one["name"] == result["winner"],
            )
            for one in result.get("candidates", ())
        ),
    )
