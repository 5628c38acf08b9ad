"""What was decided about models, in order: the only source of the stage that each has now."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fraudfed.console import Answer
from fraudfed.gate.decision import Verdict
from fraudfed.wire.messages import Sha256


class Stage(StrEnum):
    """Where a model is in its life."""

    CANDIDATE = "candidate"
    CHALLENGER = "challenger"
    CHAMPION = "champion"
    RETIRED = "retired"
    FALLBACK = "fallback"


#: Of each of these there is at most one model.
SINGLE_STAGES = (Stage.CHAMPION, Stage.CHALLENGER, Stage.FALLBACK)


class Action(StrEnum):
    """What a person did."""

    PROMOTE = "promote"
    FALLBACK = "fallback"
    CHALLENGE = "challenge"
    ROLLBACK = "rollback"
    RETIRE = "retire"


class GateEvidence(Answer):
    """What ``bank-node evaluate`` had found of a model when it was staged.

    Attributes
    ----------
    verdict : Verdict or None
        Of this model against the bank's own one; None for the own model itself, and for one that
        was held against nothing.
    own_verdict : Verdict
        Of the shared model against the own one.
    evaluation_sha256 : str
        Of ``evaluation.json`` as it was; a copy lies in ``serving/evaluations/``.
    cases : int
        Of the judge window.
    broken_limits : tuple of str
        Limits of ``gate.toml`` that the shared model breaks.
    windows_sha256 : str
        Of the rows that it was trained, selected and judged by.
    """

    verdict: Verdict | None
    own_verdict: Verdict
    evaluation_sha256: Sha256
    cases: int
    broken_limits: tuple[str, ...]
    windows_sha256: Sha256


class Move(Answer):
    """A model that changes its stage."""

    model_sha256: Sha256
    before: Stage
    after: Stage


class StageEvent(Answer):
    """One decision of a person, with everything that it moved.

    Attributes
    ----------
    at : int
        UTC epoch seconds.
    by : str
    action : Action
    model_sha256 : str
        Of the model that the action was about.
    moves : tuple of Move
    gate : GateEvidence or None
        None: the model had not been evaluated.
    without_gate : str or None
        Why it was promoted although the gate did not say *adopt*.
    reason : str or None
        Of a rollback or a retirement.
    policy_sha256 : str or None
        Of the policy that the model was to decide by.
    """

    at: Annotated[int, Field(ge=0)]
    by: Annotated[str, Field(min_length=1, max_length=200)]
    action: Action
    model_sha256: Sha256
    moves: tuple[Move, ...]
    gate: GateEvidence | None = None
    without_gate: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    reason: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    policy_sha256: Sha256 | None = None


class StagesNow:
    """The stages that follow from a history.

    Law: a history determines everything here, and one that cannot have happened is refused.

    Attributes
    ----------
    stages : dict of str to Stage
        By digest; a model that is not named is a candidate.
    reign : list of str or None
        Champions that a rollback goes back to, the current one last; None where nobody was.

    Raises
    ------
    ValueError
        If an event moves a model out of a stage that it did not have, or two models into one.
    """

    def __init__(self, history: tuple[StageEvent, ...]) -> None:
        self.stages: dict[str, Stage] = {}
        self.reign: list[str | None] = [None]
        for number, event in enumerate(history, start=1):
            self._take(number, event)

    def of(self, model_sha256: str) -> Stage:
        """Return the stage of a model."""
        return self.stages.get(model_sha256, Stage.CANDIDATE)

    def holder(self, stage: Stage) -> str | None:
        """Return the digest of the one model of a stage."""
        return next((each for each, held in self.stages.items() if held is stage), None)

    @property
    def previous(self) -> str | None:
        """The champion that a rollback goes back to."""
        earlier = reversed(self.reign[:-1])
        return next((each for each in earlier if each not in (None, self.reign[-1])), None)

    def _take(self, number: int, event: StageEvent) -> None:
        for move in event.moves:
            if self.of(move.model_sha256) is not move.before:
                raise ValueError(
                    f"event {number} takes a model from {move.before}, but it is "
                    f"{self.of(move.model_sha256)}"
                )
            self.stages[move.model_sha256] = move.after
        for stage in SINGLE_STAGES:
            if sum(held is stage for held in self.stages.values()) > 1:
                raise ValueError(f"event {number} leaves two models in the stage {stage}")
        champion = self.holder(Stage.CHAMPION)
        if event.action is Action.ROLLBACK:
            while self.reign and self.reign[-1] != champion:
                self.reign.pop()
            if champion is None or not self.reign:
                raise ValueError(f"event {number} rolls back to a model that was no champion")
        elif champion != self.reign[-1]:
            self.reign.append(champion)
