"""What the gate says of a model, and whether that is enough to put it in charge."""

import hashlib

from bank_node.evaluation.document import Evaluation
from bank_node.lifecycle.stage_history import GateEvidence
from bank_node.lifecycle.stages import StagedModel
from fraudfed.errors import (
    FraudFedError,
    KeepOwnError,
    LimitBrokenError,
    StateError,
    UndecidedError,
)
from fraudfed.gate.decision import Verdict

#: Models whose order of scores is that of the shared one, so that its decision is theirs.
_AS_SHARED = ("shared", "slope")
_OVERRIDE = "or give --without-gate REASON, which the history keeps"


def evidence_of(
    model: StagedModel, evaluation: tuple[Evaluation, bytes] | None
) -> GateEvidence | None:
    """Return what an evaluation says of a model; None if it is about another file.

    Parameters
    ----------
    model : StagedModel
    evaluation : tuple of Evaluation and bytes, or None
        And the file that it was read from.
    """
    if evaluation is None:
        return None
    found, content = evaluation
    if not any((e.name, e.sha256) == (model.name, model.sha256) for e in found.models):
        return None
    held = {each.model: each.verdict for each in (found.decision, *found.others)}
    verdict = found.decision.verdict if model.name in _AS_SHARED else held.get(model.name)
    return GateEvidence(
        verdict=verdict,
        own_verdict=found.decision.verdict,
        evaluation_sha256=hashlib.sha256(content).hexdigest(),
        cases=found.cases,
        broken_limits=tuple(e.limit for e in found.limits if not e.holds),
        windows_sha256=found.windows_sha256,
    )


def refusal(
    model: StagedModel, evidence: GateEvidence | None, evaluation: Evaluation | None
) -> FraudFedError | None:
    """Return why the gate does not let a model be in charge; None if it does.

    The bank's own model, against which the others are held, is let through by *keep your own* and
    by *undecided*: the gate says then that it stays in charge.

    Parameters
    ----------
    model : StagedModel
    evidence : GateEvidence or None
        Of ``evidence_of``.
    evaluation : Evaluation or None
    """
    if evidence is None or evaluation is None:
        return StateError(
            f"{model.title}: the gate has not said anything of this file; ask it with 'bank-node "
            f"evaluate --run {model.run_id} --data FILE', {_OVERRIDE}"
        )
    if model.name == evaluation.own:
        if evidence.own_verdict is not Verdict.ADOPT:
            return None
        return UndecidedError(
            f"{model.title}: the gate says to adopt the shared model in its place "
            f"({evaluation.sentence}); promote {model.run_id}, {_OVERRIDE}"
        )
    if evidence.verdict is None:
        return UndecidedError(
            f"{model.title}: was held against nothing, as {evaluation.own} is this bank's better "
            f"own model; promote {model.run_id}/{evaluation.own}, {_OVERRIDE}"
        )
    if evidence.verdict is Verdict.KEEP:
        return KeepOwnError(
            f"{model.title}: the gate says to keep your own model ({model.run_id}/"
            f"{evaluation.own}); promote that, {_OVERRIDE}"
        )
    if evidence.verdict is Verdict.UNDECIDED:
        return UndecidedError(
            f"{model.title}: the gate is undecided, expected adopt; shadow it with 'bank-node "
            f"models challenge {model.title}' and evaluate again with more cases, {_OVERRIDE}"
        )
    if evidence.broken_limits and model.name in _AS_SHARED:
        return LimitBrokenError(
            f"{model.title}: breaks the limit {evidence.broken_limits[0]!r} of gate.toml; let a "
            f"person look at it, {_OVERRIDE}"
        )
    return None
