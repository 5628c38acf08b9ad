"""All that MLflow is told of a finished run: what every bank of it knows, and this bank's name.

Law: nothing here is of this bank's rows alone. Their number, paths, labels and digests, its
evaluation, keys, rules and ledger are left out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from bank_node.jobs.judging import Verdict
from bank_node.jobs.search import SearchRecord, SearchRunResult
from bank_node.jobs.training import TrainingRecord, TrainingResult
from bank_node.run.record import RunRecord, read_record
from bank_node.state.directory import MODEL_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.model_reader import MOST_MODEL_BYTES
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.evaluation.score_histogram import Bounded
from fraudfed.wire.messages import RunKind

#: Tags that find a run again.
RUN_TAG = "fraudfed.run_id"
BANK_TAG = "fraudfed.bank"
DIGEST_TAG = "fraudfed.model_sha256"


@dataclass(frozen=True)
class Point:
    """A metric's value; ``step`` is the number of a tree, from 0."""

    name: str
    value: float
    step: int


@dataclass(frozen=True)
class LoggedRun:
    """What is logged.

    Attributes
    ----------
    title : str
    tags, parameters : dict of str to str
    points : tuple of Point
    texts : dict of str to str
        By name of the artifact.
    model : bytes
        The run's accepted model.
    started_at, finished_at : int
        UTC epoch seconds.
    """

    title: str
    tags: dict[str, str]
    parameters: dict[str, str]
    points: tuple[Point, ...]
    texts: dict[str, str]
    model: bytes
    started_at: int
    finished_at: int


def logged_run(state: StateDirectory, run_id: str | None) -> LoggedRun:
    """Return what is logged of a finished training or search.

    Raises
    ------
    StateError
        If this bank does not know the run, or has no result of it.
    ConfigurationError
        If it is of a kind without a model.
    """
    run = state.current_run(run_id)
    if run.spec.kind is RunKind.TRAINING:
        training = read_record(state, run.run_id, TrainingRecord)
        if training is not None:
            return _logged(state, run, training, training.result)
    elif run.spec.kind is RunKind.SEARCH:
        search = read_record(state, run.run_id, SearchRecord)
        if search is not None:
            return _logged(state, run, search, search.result)
    else:
        raise ConfigurationError(
            f"run {run.run_id} ({run.spec.name}): is of kind {run.spec.kind} and has no model, "
            "expected a training or a search"
        )
    raise StateError(
        f"run {run.run_id} ({run.spec.name}): is not finished at this bank; finish it first with "
        f"'bank-node {'search' if run.spec.kind is RunKind.SEARCH else 'train'}'"
    )


def _logged(
    state: StateDirectory,
    run: PinnedRun,
    record: "RunRecord[TrainingResult] | RunRecord[SearchRunResult]",
    result: TrainingResult | SearchRunResult,
) -> LoggedRun:
    contract, spec = run.contract, run.spec
    tags = {
        RUN_TAG: run.run_id,
        BANK_TAG: record.bank,
        DIGEST_TAG: record.model_sha256,
        "fraudfed.name": spec.name,
        "fraudfed.kind": spec.kind.value,
        "fraudfed.version": record.fraudfed_version,
        "fraudfed.cohort": ", ".join(run.cohort),
        "fraudfed.signed_by": ", ".join(record.members),
        "fraudfed.key_epoch": str(record.key_epoch),
        "fraudfed.recipe": contract.recipe or "",
        "fraudfed.shared_risk": ", ".join(contract.shared_risk),
    }
    parameters = {name: json.dumps(value) for name, value in result.parameters.items()}
    for name in ("train_from", "train_until", "select_until", "judge_until"):
        parameters[f"contract.{name}"] = str(getattr(contract, name))
    parameters["contract.features"] = str(len(contract.features))
    parameters["trees"] = str(result.trees)
    if isinstance(result, SearchRunResult):
        parameters["search.winner"] = result.winner
        points = tuple(_search_points(result))
    else:
        points = tuple(
            Point(name, value, tree.tree)
            for tree in result.history or ()
            for name, value in tree.metrics.items()
        )
    verdict = result.verdict
    texts = {
        "contract.json": contract.model_dump_json(indent=1),
        "members.json": json.dumps({"cohort": run.cohort, "signed_by": record.members}, indent=1),
    }
    if verdict is not None:
        texts["report.json"] = verdict.model_dump_json(indent=1)
        points = (*points, *_verdict_points(verdict, step=max(result.trees - 1, 0)))
    return LoggedRun(
        title=f"{spec.name} ({run.run_id})",
        tags=tags,
        parameters=parameters,
        points=points,
        texts=texts,
        model=_model(state, run.run_id),
        started_at=record.last_process.started_at,
        finished_at=record.last_process.finished_at,
    )


def _search_points(result: SearchRunResult) -> Iterator[Point]:
    for candidate in result.candidates:
        for point in candidate.curve:
            yield Point(
                f"{candidate.name}.{result.select_by}", point.mean_of_banks, point.trees - 1
            )


def _verdict_points(verdict: Verdict, *, step: int) -> Iterator[Point]:
    """Yield the metrics of all banks' rows of the judge window."""
    if verdict.noised is not None and verdict.noised.auprc is not None:
        yield Point("judge.noised_auprc", verdict.noised.auprc.estimate, step)
    if verdict.report is None:
        return
    known = verdict.report.known
    values: dict[str, Bounded | None] = {
        "judge.auprc": known.auprc,
        "judge.case_recall": known.at_budget.case_recall,
        "judge.precision": known.at_budget.precision,
    }
    for name, value in values.items():
        if value is not None:
            yield Point(name, value.estimate, step)


def _model(state: StateDirectory, run_id: str) -> bytes:
    path = state.path / "runs" / run_id / MODEL_FILE
    try:
        with path.open("rb") as file:
            return file.read(MOST_MODEL_BYTES)
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror or error})") from error
