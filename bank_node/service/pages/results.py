"""The finished runs of this bank, their curves, and what its gate said of their models."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bank_node.evaluation.document import Bounds, Evaluation
from bank_node.evaluation.evaluate import EVALUATION_DIRECTORY, EVALUATION_FILE
from bank_node.state.directory import SEARCH_FILE, StateDirectory
from fraudfed.errors import StateError
from fraudfed.http.pages.charts import Curve

_MOST_CURVES = 6
#: A gate's answer in words, and how it is marked.
VERDICTS = {
    "adopt": ("Adopt the shared model", "good"),
    "keep": ("Keep your own model", "bad"),
    "undecided": ("Not decided: too little is known", "wait"),
}


@dataclass(frozen=True)
class FinishedRun:
    """A run whose result lies here.

    Attributes
    ----------
    run_id, name, kind : str
    evaluation : Evaluation or None
        None: ``bank-node evaluate`` has not judged its model.
    curves : tuple of Curve
    winner : str
        Of a search.
    y_label : str
    model_sha256 : str or None
        Of the result that all banks signed.
    facts : tuple of (str, str)
        What the record says beside that.
    """

    run_id: str
    name: str
    kind: str
    evaluation: Evaluation | None
    curves: tuple[Curve, ...]
    winner: str
    y_label: str
    model_sha256: str | None
    facts: tuple[tuple[str, str], ...]


def finished_runs(state: StateDirectory) -> list[FinishedRun]:
    """Return the finished runs of this bank, newest first by their files.

    Raises
    ------
    StateError
        If a file of a run cannot be read.
    """
    found = []
    for path in (state.path / "runs").iterdir():
        record = path / "record.json"
        if record.is_file():
            found.append((record.stat().st_mtime_ns, path.name))
    return [finished_run(state, run_id) for _, run_id in sorted(found, reverse=True)]


def finished_run(state: StateDirectory, run_id: str) -> FinishedRun:
    """Return one finished run; raises StateError as ``finished_runs``."""
    run = state.pinned_run(run_id)
    record = state.record(run_id)
    if run is None or record is None:
        raise StateError(f"{state.path}: run {run_id} is not finished here")
    winner, curves, y_label = _curves(state, run_id, record)
    return FinishedRun(
        run_id=run_id,
        name=run.spec.name,
        kind=run.spec.kind.value,
        evaluation=_evaluation(state, run_id),
        curves=curves,
        winner=winner,
        y_label=y_label,
        model_sha256=record.get("model_sha256"),
        facts=tuple(_facts(record)),
    )


def shown_bounds(found: Bounds | None, *, percent: bool = True) -> str:
    """Return an estimate with its bounds."""
    if found is None:
        return "-"
    if percent:
        return f"{found.estimate:.1%} ({found.lower:.1%} to {found.upper:.1%})"
    return f"{found.estimate:.4f} ({found.lower:.4f} to {found.upper:.4f})"


def _facts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    result = record.get("result") or {}
    for name, what in (("trees", "trees"), ("rows", "rows of this bank"), ("days", "days")):
        if isinstance(result.get(name), int):
            yield what, f"{result[name]:,}"
    if record.get("members"):
        yield "banks", ", ".join(record["members"])


def _evaluation(state: StateDirectory, run_id: str) -> Evaluation | None:
    path = state.path / "runs" / run_id / EVALUATION_DIRECTORY / EVALUATION_FILE
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise StateError(f"{path}: cannot be read ({first}); evaluate the run again") from None


def _curves(
    state: StateDirectory, run_id: str, record: dict[str, Any]
) -> tuple[str, tuple[Curve, ...], str]:
    path = state.path / "runs" / run_id / SEARCH_FILE
    if path.exists():
        winner, curves = _of_search(json.loads(path.read_bytes()))
        return winner, curves, "area under the precision-recall curve"
    return "", tuple(_of_training(record)), "metric"


def _of_search(document: dict[str, Any]) -> tuple[str, tuple[Curve, ...]]:
    metric, winner = document["select_by"], document["choice"]["name"]
    curves = [
        Curve(
            candidate["name"],
            tuple(
                (point["trees"], point[metric])
                for point in candidate["curve"]
                if point[metric] is not None
            ),
        )
        for candidate in document["candidates"]
    ]
    curves.sort(key=lambda curve: (curve.name != winner, -len(curve.points)))
    return winner, tuple(curve for curve in curves[:_MOST_CURVES] if curve.points)


def _of_training(record: dict[str, Any]) -> Iterator[Curve]:
    history = (record.get("result") or {}).get("history") or record.get("history") or ()
    names = sorted({name for tree in history for name in tree["metrics"]})
    for name in names[:_MOST_CURVES]:
        points = tuple(
            (tree["tree"] + 1, tree["metrics"][name]) for tree in history if name in tree["metrics"]
        )
        yield Curve(name, points)
