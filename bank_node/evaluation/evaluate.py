"""Judge a finished run at this bank: its own models, all scorings of one window, a decision.

Nothing is sent. Files are written when everything is known, ``evaluation.json`` last: where it is,
the models beside it are those that it speaks of.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bank_node.data.contract import TableShares, load_training_rows
from bank_node.data.costs_file import read_costs
from bank_node.data.digest import windows_digest
from bank_node.evaluation.document import (
    Bounds,
    EarlierUse,
    EvaluatedModel,
    EvaluatedWindow,
    Evaluation,
    Held,
    HeldLimit,
)
from bank_node.evaluation.own_models import OwnModel, better_own, own_plan, train_own
from bank_node.evaluation.wording import advice, decision_sentence
from bank_node.state.directory import StateDirectory
from bank_node.state.judge_uses import JudgeUse, JudgeUses
from bank_node.state.lock_file import locked
from bank_node.state.pinned_run import PinnedRun
from fraudfed.adaptation.adapted import AdaptedModels, adapted_models
from fraudfed.boosting.model import Model
from fraudfed.boosting.model_reader import MOST_MODEL_BYTES, read_model
from fraudfed.boosting.predict import predict_margins
from fraudfed.catalogue.run_check import check_candidates, check_contract
from fraudfed.dtypes import Float32Array
from fraudfed.durable_file import make_private, write_atomic
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.evaluation.net_benefit import Costs, net_benefit
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.evaluation.plan import PAYMENT_GROUPS
from fraudfed.features.mappings.mapping import Mapping as ColumnMapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.gate.alerts import alert_budget
from fraudfed.gate.cases import JudgedCases
from fraudfed.gate.compare import Comparison, by_reading, compare
from fraudfed.gate.decision import Decision
from fraudfed.gate.intervals import Interval
from fraudfed.gate.limits import GateFile, judge_limits, read_gate
from fraudfed.gate.measured import MeasuredScoring
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import JUDGE, Windows
from fraudfed.reading.location import Location
from fraudfed.wire.messages import RunKind

_log = logging.getLogger(__name__)

EVALUATION_DIRECTORY = "evaluation"
EVALUATION_FILE = "evaluation.json"
_LOCK = ".lock"
_SHARED = "shared"
_SLOPE = "slope"
_ADAPTED = {
    _SLOPE: "the shared model with this bank's intercept and slope",
    "blend": "this bank's own model and the shared one, blended",
    "continued": "the shared model with further trees on this bank's rows",
}


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What a person asked for.

    Attributes
    ----------
    data : Path
    mapping : Mapping or None
    gate, costs : Path or None
    plan : str or None
    alerts_per_day : float or None
    threads : int or None
    """

    data: Location
    mapping: ColumnMapping | None
    gate: Path | None
    costs: Path | None
    plan: str | None
    alerts_per_day: float | None
    threads: int | None


def judged_run(state: StateDirectory, run_id: str | None) -> tuple[PinnedRun, bytes]:
    """Return a run that has a model here, and the model's file.

    Raises
    ------
    StateError
        If this bank does not know the run, or has no model of it.
    ConfigurationError
        If the run is of a kind without a model, or has no window to judge by.
    """
    run = state.current_run(run_id)
    if run.spec.kind not in (RunKind.TRAINING, RunKind.SEARCH):
        raise ConfigurationError(
            f"run {run.run_id} ({run.spec.name}): is of kind {run.spec.kind} and has no model, "
            "expected a training or a search; name another with --run"
        )
    path = state.model_path(run.run_id)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_MODEL_BYTES + 1)
    except FileNotFoundError:
        command = "search" if run.spec.kind is RunKind.SEARCH else "train"
        raise StateError(
            f"run {run.run_id} ({run.spec.name}): has no accepted model at this bank; finish it "
            f"first with 'bank-node {command}'"
        ) from None
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror or error})") from error
    contract = run.contract
    if contract.kind == "transactions" and contract.judge_from is None:
        raise ConfigurationError(
            f"run {run.run_id} ({run.spec.name}): its contract has no judge window (judge_until), "
            "so there are no payments that neither trained nor chose the model; expected a run "
            "with one"
        )
    if contract.kind != "transactions" and run.spec.kind is not RunKind.SEARCH:
        raise ConfigurationError(
            f"run {run.run_id} ({run.spec.name}): trained on all rows of a table without times and "
            "set none apart to judge; expected a search, or a contract of transactions"
        )
    return run, content


def evaluate(
    state: StateDirectory,
    run: PinnedRun,
    content: bytes,
    options: EvaluationOptions,
    *,
    shared: SharedRisk | None,
    on_tree: Callable[[str, int, int], None],
) -> Evaluation:
    """Judge the model of a run on this bank's rows, and keep what was found.

    Parameters
    ----------
    state : StateDirectory
        Not locked: a training may go on beside it.
    run, content
        Of ``judged_run``.
    options : EvaluationOptions
    shared : SharedRisk or None
        The risk tables of the contract.
    on_tree : callable
        Called with an own model's name, its trees so far, and most trees.

    Raises
    ------
    ConfigurationError
        If the gate file, the costs, the plan or the alerts are wrong.
    DataError
        If the rows do not meet the contract, or a window has no rows of both classes.
    StateError
        If the model is damaged, nothing can be written, or another process evaluates the run.
    """
    directory = state.run_directory(run.run_id) / EVALUATION_DIRECTORY
    make_private(directory)
    busy = f"{directory}: another process evaluates this run; wait until it ends"
    with locked(directory / _LOCK, held=busy):
        return _evaluate(state, run, content, options, directory, shared=shared, on_tree=on_tree)


def _evaluate(
    state: StateDirectory,
    run: PinnedRun,
    content: bytes,
    options: EvaluationOptions,
    directory: Path,
    *,
    shared: SharedRisk | None,
    on_tree: Callable[[str, int, int], None],
) -> Evaluation:
    contract = run.contract
    check_contract(contract)
    gate = _gate(options.gate)
    costs = None if options.costs is None else read_costs(options.costs, contract)
    alerts_per_day = (
        gate.alerts_per_day if options.alerts_per_day is None else (options.alerts_per_day)
    )
    source = str(state.model_path(run.run_id))
    shared_model = read_model(content, schema=contract_schema(contract), source=source)
    is_search = run.spec.kind is RunKind.SEARCH
    has_select = is_search or contract.select_from is not None
    plan = own_plan(run, options.plan, has_select=has_select)
    rows = load_training_rows(
        options.data,
        contract,
        mapping=options.mapping,
        shared=shared,
        shares=TableShares(seed=_seed(run), select=has_select, judge=True),
    )
    windows = rows.windows
    judge = _judge_rows(windows, run)
    # What cannot be judged is said before anything is trained.
    alert_budget(JudgedCases.of(judge.outcomes), alerts_per_day)
    use = _use(run, windows)
    uses = JudgeUses(state.path / "runs")
    earlier = uses.earlier(use)
    own = train_own(run, windows, plan, on_tree=on_tree, threads=options.threads)
    chosen = better_own(own)
    adapted = AdaptedModels((), {})
    if windows.select is not None:
        adapted = adapted_models(
            shared_model, chosen.model, windows.select, threads=options.threads
        )
    # A slope changes no order: what is decided of the shared model holds for it.
    reordered = [each.name for each in adapted.models if each.name != _SLOPE]
    models = {
        _SHARED: shared_model,
        **{each.name: each.model for each in own},
        **{each.name: each.model for each in adapted.models},
    }
    scores = {
        name: predict_margins(model, judge.features, threads=options.threads)
        for name, model in models.items()
    }
    rows_digest = windows_digest(windows)
    digest = hashlib.sha256(f"{run.run_id} {rows_digest}".encode()).digest()
    found = compare(
        scores,
        judge.outcomes,
        own=chosen.name,
        adapted=reordered,
        generator=_generator(digest),
        alerts_per_day=alerts_per_day,
        margin=gate.margin,
    )
    readings = by_reading(
        scores[_SHARED],
        scores[chosen.name],
        judge.outcomes,
        generator=_generator(digest),
        alerts_per_day=alerts_per_day,
        margin=gate.margin,
    )
    files = {name: model.to_json() for name, model in models.items()}
    described = _models(
        own, adapted, files, models, found, judge, scores, costs=costs, directory=directory
    )
    held = {name: _held(name, chosen.name, each) for name, each in found.decisions.items()}
    limits = _limits(gate, found, judge, scores, own=chosen.name)
    in_time = contract.kind == "transactions"
    read = {reading: _held(_SHARED, chosen.name, each) for reading, each in readings.items()}
    advised = found.advised(reordered)
    earlier_uses = tuple(EarlierUse(run_id=each.run_id, at=each.at) for each in earlier)
    evaluation = Evaluation(
        run_id=run.run_id,
        name=run.spec.name,
        bank=state.config.name,
        kind=run.spec.kind,
        in_time=in_time,
        windows=_windows(windows),
        windows_sha256=rows_digest,
        cases=found.n_cases,
        days=found.n_days,
        alerts=found.n_alerts,
        alerts_per_day=alerts_per_day,
        margin=gate.margin,
        plan=plan.text,
        models=described,
        own=chosen.name,
        decision=held[_SHARED],
        sentence=decision_sentence(held[_SHARED], cases=found.n_cases, margin=gate.margin),
        advice=advice(
            held[_SHARED],
            cases=found.n_cases,
            adapted=advised,
            readings=read,
            limits=limits,
            earlier=earlier_uses,
            in_time=in_time,
        ),
        others=tuple(each for name, each in held.items() if name != _SHARED),
        adapted_advised=advised,
        left_out=dict(adapted.left_out),
        readings=read,
        limits=limits,
        gate=options.gate is not None,
        currency=None if costs is None else costs.currency,
        earlier_uses=earlier_uses,
        warnings=rows.warnings,
    )
    # The use first: a window that was looked at counts as used, whatever happens to the files.
    uses.add(use)
    _write(directory, evaluation, {name: files[name] for name in files if name != _SHARED})
    return evaluation


def _gate(path: Path | None) -> GateFile:
    if path is None:
        return GateFile()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise ConfigurationError(
            f"{path}: cannot be read ({reason}); name a TOML file with what a model must reach"
        ) from None
    return read_gate(text, source=str(path), groups=PAYMENT_GROUPS)


def _seed(run: PinnedRun) -> int:
    """Return the seed that divides a table without times, as the run's own job did."""
    if run.spec.kind is not RunKind.SEARCH:
        return 0
    return check_candidates(run.contract, run.search, run.spec.parameters)[0].seed


def _judge_rows(windows: Windows, run: PinnedRun) -> JudgedRows:
    judge = windows.judge
    if judge is None or not judge.n_rows:
        raise ConfigurationError(
            f"run {run.run_id}: no payment of this file lies in its judge window; give a file "
            "that reaches it"
        )
    return judge


def _use(run: PinnedRun, windows: Windows) -> JudgeUse:
    first, last = windows.periods.get(JUDGE, (None, None))
    return JudgeUse(
        run_id=run.run_id,
        at=int(time.time()),
        first_event=first,
        last_event=last,
        rows=windows.counts[JUDGE].rows,
    )


def _generator(digest: bytes) -> np.random.Generator:
    """Return the numbers of the bootstrap: the same run and rows, the same resamples."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def _write(directory: Path, evaluation: Evaluation, files: Mapping[str, bytes]) -> None:
    try:
        # Models of an earlier evaluation without one of that name would not be of this one.
        for old in directory.glob("*.json"):
            old.unlink()
        for name, content in files.items():
            write_atomic(directory / f"{name}.json", content)
        text = evaluation.model_dump_json(indent=1)
        write_atomic(directory / EVALUATION_FILE, text.encode() + b"\n")
    except OSError as error:
        raise StateError(
            f"{directory}: cannot be written ({error.strerror or error}); make room and start the "
            "command again"
        ) from error


def _windows(windows: Windows) -> tuple[EvaluatedWindow, ...]:
    found = []
    for name, count in windows.counts.items():
        first, last = windows.periods.get(name, (None, None))
        found.append(
            EvaluatedWindow(
                name=name,
                rows=count.rows,
                frauds=count.frauds,
                censored=count.censored,
                first_event=first,
                last_event=last,
            )
        )
    return tuple(found)


def _models(
    own: tuple[OwnModel, ...],
    adapted: AdaptedModels,
    files: Mapping[str, bytes],
    models: Mapping[str, Model],
    found: Comparison,
    judge: JudgedRows,
    scores: Mapping[str, Float32Array],
    *,
    costs: Costs | None,
    directory: Path,
) -> tuple[EvaluatedModel, ...]:
    what = {
        _SHARED: "all banks' rows",
        **{each.name: each.what for each in own},
        **{each.name: f"{_ADAPTED[each.name]} ({each.fitted})" for each in adapted.models},
    }
    of_own = {each.name: each for each in own}
    described = []
    for name, content in files.items():
        reached = found.reached[name]
        path = directory.parent / "model.json" if name == _SHARED else directory / f"{name}.json"
        benefit = None
        if costs is not None:
            benefit = net_benefit(scores[name], judge.outcomes, costs, found.n_alerts).net
        searched = of_own.get(name)
        described.append(
            EvaluatedModel(
                name=name,
                what=what[name],
                file=str(path),
                sha256=hashlib.sha256(content).hexdigest(),
                trees=len(models[name].trees),
                candidate=None if searched is None else searched.candidate,
                select_auprc=None if searched is None else searched.select_auprc,
                case_recall=_bounds(reached.case_recall),
                case_value_recall=None
                if reached.case_value_recall is None
                else _bounds(reached.case_value_recall),
                auprc=_bounds(reached.auprc),
                threshold=_probability(reached.threshold),
                net_benefit=benefit,
            )
        )
    return tuple(described)


def _limits(
    gate: GateFile,
    found: Comparison,
    judge: JudgedRows,
    scores: Mapping[str, Float32Array],
    *,
    own: str,
) -> tuple[HeldLimit, ...]:
    if not gate.limits:
        return ()
    shared, of_own = (
        MeasuredScoring.of(scores[name], judge.outcomes, found.reached[name].threshold)
        for name in (_SHARED, own)
    )
    return tuple(
        HeldLimit(
            limit=each.limit.text,
            holds=each.holds,
            reason=each.reason,
            shared=each.shared,
            own=each.own,
            cases=each.n_cases,
        )
        for each in judge_limits(gate.limits, shared, of_own, groups=PAYMENT_GROUPS)
    )


def _held(name: str, own: str, decision: Decision) -> Held:
    value = decision.value_difference
    return Held(
        model=name,
        against=own,
        verdict=decision.verdict,
        confidence=decision.confidence,
        difference=_bounds(decision.difference),
        value_difference=None if value is None else _bounds(value),
        only_model=decision.only_shared,
        only_own=decision.only_own,
        discordant_share=decision.discordant_share,
        cases_to_tell_apart=decision.cases_to_tell_apart,
        cases_to_adopt=decision.cases_to_adopt,
    )


def _bounds(interval: Interval) -> Bounds:
    return Bounds(estimate=interval.estimate, lower=interval.lower, upper=interval.upper)


def _probability(margin: float) -> float | None:
    """Return the score at a margin, None where nothing reaches it."""
    return None if np.isinf(margin) else float(1.0 / (1.0 + np.exp(-np.float64(margin))))
