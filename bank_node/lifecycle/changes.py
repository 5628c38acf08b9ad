"""Put a model in charge, let it shadow, take it out, go back: each is one event of the history.

Everything is checked first, then the files are kept, then the stages, in one write: a command that
is killed has done all of it or nothing.
"""

import time
from dataclasses import dataclass

from bank_node.lifecycle.gate_evidence import evidence_of, refusal
from bank_node.lifecycle.models_on_hand import (
    ModelOnHand,
    evaluation_of,
    find_model,
    kept_files,
    staged_model,
)
from bank_node.lifecycle.stage_history import Action, GateEvidence, Stage, StageEvent
from bank_node.lifecycle.stages import StageDirectory, StagedModel, Stages, kept_evaluation
from bank_node.state.directory import StateDirectory
from fraudfed.errors import ConfigurationError, FraudFedError

_STAGE_OF = {
    Action.PROMOTE: Stage.CHAMPION,
    Action.CHALLENGE: Stage.CHALLENGER,
    Action.FALLBACK: Stage.FALLBACK,
    Action.RETIRE: Stage.RETIRED,
}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asks for.

    Attributes
    ----------
    by : str
    without_gate : str or None
        Why a promotion needs no *adopt*.
    reason : str or None
    policy_sha256 : str or None
    """

    by: str
    without_gate: str | None = None
    reason: str | None = None
    policy_sha256: str | None = None


@dataclass(frozen=True)
class _Planned:
    """A change that may be made: its event, whose model it is, and the files to keep first."""

    event: StageEvent
    model: StagedModel
    files: dict[str, bytes]


def stage(state: StateDirectory, action: Action, wanted: str, wish: Wish) -> StageEvent:
    """Bring a model into the stage of an action, and return what was written.

    Raises
    ------
    ConfigurationError
        If there is no such model, it has the stage, or it cannot be used beside the champion.
    KeepOwnError, UndecidedError, LimitBrokenError
        If it is to be promoted and the gate does not say *adopt*.
    StateError
        If it was never evaluated, or a file is damaged or cannot be written.
    """
    directory = StageDirectory.of_state(state.path)
    with directory.changing() as stages:
        plan = _plan_stage(state, directory, stages, action, wanted, wish)
        directory.write(stages.after(plan.event, plan.model), plan.files)
    return plan.event


def roll_back(state: StateDirectory, wish: Wish) -> StageEvent:
    """Put the champion before the current one in charge again, and return what was written.

    Raises
    ------
    ConfigurationError
        If there was none, or it is of another recipe than the current one.
    StateError
        If a file is damaged or cannot be written.
    """
    directory = StageDirectory.of_state(state.path)
    with directory.changing() as stages:
        plan = _plan_rollback(directory, stages, wish)
        directory.write(stages.after(plan.event, plan.model), plan.files)
    return plan.event


def hindrance(state: StateDirectory, action: Action, wanted: str = "") -> FraudFedError | None:
    """Return what ``stage`` or ``roll_back`` would raise now, None if nothing; changes nothing.

    Parameters
    ----------
    state : StateDirectory
    action : Action
    wanted : str
        The model; not used by a rollback.
    """
    directory, wish = StageDirectory.of_state(state.path), Wish(by="-")
    try:
        stages = directory.read()
        if action is Action.ROLLBACK:
            _plan_rollback(directory, stages, wish)
        else:
            _plan_stage(state, directory, stages, action, wanted, wish)
    except FraudFedError as error:
        return error
    return None


def _plan_stage(
    state: StateDirectory,
    directory: StageDirectory,
    stages: Stages,
    action: Action,
    wanted: str,
    wish: Wish,
) -> _Planned:
    found = find_model(state, stages, wanted)
    files: dict[str, bytes] = {}
    if isinstance(found, ModelOnHand):
        model = staged_model(state, found)
        files = kept_files(found, directory)
    else:
        model = found
        directory.content(model)
    moves = stages.moves_to(model, _STAGE_OF[action])
    if action is Action.RETIRE:
        _check_retired(stages, model)
    else:
        _check_beside_champion(stages, model, action)
    evaluation = evaluation_of(state, model.run_id)
    evidence = evidence_of(model, evaluation)
    if evidence is None:
        evidence = _kept_evidence(stages, model)
    elif evaluation is not None:
        files[kept_evaluation(evidence.evaluation_sha256)] = evaluation[1]
    if action is Action.PROMOTE and wish.without_gate is None:
        failure = refusal(model, evidence, None if evaluation is None else evaluation[0])
        if failure is not None:
            raise failure
    event = StageEvent(
        at=int(time.time()),
        by=wish.by,
        action=action,
        model_sha256=model.sha256,
        moves=moves,
        gate=evidence,
        without_gate=wish.without_gate,
        reason=wish.reason,
        policy_sha256=wish.policy_sha256,
    )
    return _Planned(event, model, files)


def _plan_rollback(directory: StageDirectory, stages: Stages, wish: Wish) -> _Planned:
    model, moves = stages.rolled_back()
    # What is to be in charge must be there, whole.
    directory.content(model)
    _check_beside_champion(stages, model, Action.ROLLBACK)
    event = StageEvent(
        at=int(time.time()),
        by=wish.by,
        action=Action.ROLLBACK,
        model_sha256=model.sha256,
        moves=moves,
        gate=_kept_evidence(stages, model),
        reason=wish.reason,
        policy_sha256=wish.policy_sha256,
    )
    return _Planned(event, model, {})


def _kept_evidence(stages: Stages, model: StagedModel) -> GateEvidence | None:
    """Return what the gate had said when the model was last staged."""
    found = [e.gate for e in stages.history if e.model_sha256 == model.sha256]
    return next((each for each in reversed(found) if each is not None), None)


def _check_retired(stages: Stages, model: StagedModel) -> None:
    if stages.now.of(model.sha256) is Stage.CANDIDATE:
        raise ConfigurationError(
            f"{model.title}: is a candidate and not in use, expected champion, challenger or "
            "fallback; nothing is changed"
        )


def _check_beside_champion(stages: Stages, model: StagedModel, action: Action) -> None:
    champion = stages.holder(Stage.CHAMPION)
    if champion is not None and champion.recipe != model.recipe:
        # All models in use read the features of one store.
        raise ConfigurationError(
            f"{model.title}: is of recipe {model.recipe}, the champion {champion.title} of "
            f"{champion.recipe}; the features of one store fit one of them: retire the champion "
            "with 'bank-node models retire' and warm a store for the other recipe first"
        )
    if action is Action.FALLBACK and model.uses_shared_risk:
        raise ConfigurationError(
            f"{model.title}: asks for features of shared risk, expected a model without them, as "
            f"{model.run_id}/own of 'bank-node evaluate': a fallback scores when the tables are "
            "too old"
        )
