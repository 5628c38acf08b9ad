"""Where a model comes from and what became of it: from its rows to each decision about it."""

from typing import Any

from bank_node.approval.digest import approval_hash
from bank_node.evaluation.document import EvaluatedWindow
from bank_node.lifecycle.gate_evidence import evidence_of
from bank_node.lifecycle.models_on_hand import (
    ModelOnHand,
    evaluation_of,
    find_model,
    models_on_hand,
    pinned,
    staged_model,
)
from bank_node.lifecycle.stage_history import GateEvidence, Stage, StageEvent
from bank_node.lifecycle.stages import StageDirectory, Stages, model_title
from bank_node.state.adopted import signers_of
from bank_node.state.directory import StateDirectory
from fraudfed.console import Answer
from fraudfed.wire.messages import BankName, DataContract, ModelVisibility, RunKind, Sha256


class ListedModel(Answer):
    """A model that this bank has.

    Attributes
    ----------
    model : str
        Name that commands take.
    sha256 : str
    stage : Stage
    since : int or None
        When it came into this stage, UTC epoch seconds; None for one that was never staged.
    file : str
    """

    model: str
    sha256: Sha256
    stage: Stage
    since: int | None
    file: str


class ListedModels(Answer):
    """``models list``: those in use first.

    Attributes
    ----------
    models : tuple of ListedModel
    previous : str or None
        Name of the champion that ``models rollback`` goes back to.
    """

    models: tuple[ListedModel, ...]
    previous: str | None


class RunOfModel(Answer):
    """The run that a model comes from.

    Attributes
    ----------
    run_id, name : str
    kind : RunKind
    description_sha256 : str
        What a person approves: run, cohort, contract and key in canonical form.
    key_epoch : int
    cohort : tuple of str
    signed_by : tuple of str
        Banks that signed the result; empty before the run has a record.
    visibility : ModelVisibility
    parameters : dict
        That the model was made with, defaults included; as the run gives them without a record.
    candidates : int or None
        Of a search.
    winner : str or None
        The candidate that a search chose.
    shared_risk : tuple of str
        Runs of the risk tables that its features were made of.
    """

    run_id: str
    name: str
    kind: RunKind
    description_sha256: Sha256
    key_epoch: int
    cohort: tuple[BankName, ...]
    signed_by: tuple[BankName, ...]
    visibility: ModelVisibility
    parameters: dict[str, Any]
    candidates: int | None
    winner: str | None
    shared_risk: tuple[str, ...]


class DataOfModel(Answer):
    """The rows of this bank behind a model.

    Attributes
    ----------
    contract : DataContract
        With the windows.
    windows : tuple of EvaluatedWindow
        As the last evaluation found them; empty without one.
    windows_sha256 : str or None
        Of these rows.
    """

    contract: DataContract
    windows: tuple[EvaluatedWindow, ...]
    windows_sha256: Sha256 | None


class ModelLineage(Answer):
    """``models show``.

    Attributes
    ----------
    model, sha256, file : str
    name : str
        ``shared``, or what the evaluation calls it.
    what : str
        In words.
    stage : Stage
    recipe : str or None
    uses_shared_risk : bool
    data : DataOfModel
    run : RunOfModel
    gate : GateEvidence or None
        What the gate says now of this file.
    history : tuple of StageEvent
        Every event that moved it.
    """

    model: str
    sha256: Sha256
    file: str
    name: str
    what: str
    stage: Stage
    recipe: str | None
    uses_shared_risk: bool
    data: DataOfModel
    run: RunOfModel
    gate: GateEvidence | None
    history: tuple[StageEvent, ...]


_ORDER = (Stage.CHAMPION, Stage.CHALLENGER, Stage.FALLBACK, Stage.CANDIDATE, Stage.RETIRED)


def listed(state: StateDirectory) -> ListedModels:
    """Return every model of a bank with its stage; raises StateError if a file is damaged."""
    directory = StageDirectory.of_state(state.path)
    stages = directory.read()
    files = {each.sha256: (each.title, directory.model_path(each.sha256)) for each in stages.models}
    for found in models_on_hand(state):
        files.setdefault(found.sha256, (found.title, found.path))
    rows = [
        ListedModel(
            model=title,
            sha256=sha256,
            stage=stages.now.of(sha256),
            since=_since(stages, sha256),
            file=str(path),
        )
        for sha256, (title, path) in files.items()
    ]
    previous = stages.now.previous
    return ListedModels(
        models=tuple(sorted(rows, key=lambda e: (_ORDER.index(e.stage), e.model))),
        previous=None if previous is None else stages.model(previous).title,
    )


def _since(stages: Stages, sha256: str) -> int | None:
    moved = [e.at for e in stages.history if sha256 in {move.model_sha256 for move in e.moves}]
    return moved[-1] if moved else None


def lineage(state: StateDirectory, wanted: str) -> ModelLineage:
    """Return the whole chain of a model.

    Raises
    ------
    ConfigurationError
        If there is no such model.
    StateError
        If a file is damaged.
    """
    directory = StageDirectory.of_state(state.path)
    stages = directory.read()
    found = find_model(state, stages, wanted)
    if isinstance(found, ModelOnHand):
        model, path = staged_model(state, found), found.path
    else:
        model, path = found, directory.model_path(found.sha256)
        directory.content(model)
    evaluation = evaluation_of(state, model.run_id)
    evidence = evidence_of(model, evaluation)
    # Of an evaluation that was made with other files, nothing is about this model.
    known = evaluation[0] if evidence is not None and evaluation is not None else None
    described = () if known is None else tuple(e for e in known.models if e.name == model.name)
    history = tuple(
        e for e in stages.history if model.sha256 in {move.model_sha256 for move in e.moves}
    )
    kept = [e.gate for e in history if e.gate is not None and e.model_sha256 == model.sha256]
    if evidence is None and kept:
        evidence = kept[-1]
    return ModelLineage(
        model=model_title(model.run_id, model.name),
        sha256=model.sha256,
        file=str(path),
        name=model.name,
        what=described[0].what if described else _what(model.name),
        stage=stages.now.of(model.sha256),
        recipe=model.recipe,
        uses_shared_risk=model.uses_shared_risk,
        data=DataOfModel(
            contract=pinned(state, model.run_id).contract,
            windows=() if known is None else known.windows,
            windows_sha256=None if evidence is None else evidence.windows_sha256,
        ),
        run=_run(state, model.run_id),
        gate=evidence,
        history=history,
    )


def _what(name: str) -> str:
    return "all banks' rows" if name == "shared" else "made by an earlier evaluation"


def _run(state: StateDirectory, run_id: str) -> RunOfModel:
    run = pinned(state, run_id)
    record = state.record(run_id) or {}
    result = record.get("result", {})
    spec = run.spec
    return RunOfModel(
        run_id=run_id,
        name=spec.name,
        kind=spec.kind,
        description_sha256=approval_hash(run),
        key_epoch=spec.key_epoch,
        cohort=run.cohort,
        signed_by=signers_of(state, run_id),
        visibility=spec.model_visibility,
        parameters=result.get("parameters", dict(spec.parameters)),
        candidates=None if spec.search is None else len(spec.search.candidates),
        winner=result.get("winner"),
        shared_risk=run.contract.shared_risk,
    )
