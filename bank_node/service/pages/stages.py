"""The stages of this bank's models for a page: who is in charge, what came before, and why."""

from dataclasses import dataclass

from bank_node.lifecycle.changes import hindrance
from bank_node.lifecycle.gate_evidence import evidence_of
from bank_node.lifecycle.lineage import ListedModel, ModelLineage, lineage, listed
from bank_node.lifecycle.models_on_hand import evaluation_of
from bank_node.lifecycle.stage_history import Action, GateEvidence, Stage, StageEvent
from bank_node.lifecycle.stages import StageDirectory, StagedModel
from bank_node.state.directory import StateDirectory

#: How a stage is marked.
MARKS = {
    Stage.CHAMPION: "good",
    Stage.CHALLENGER: "wait",
    Stage.FALLBACK: "",
    Stage.CANDIDATE: "",
    Stage.RETIRED: "",
}
#: What a stage means, in words.
MEANINGS = {
    Stage.CHAMPION: "in charge: it decides about payments",
    Stage.CHALLENGER: "scores beside the champion and decides nothing",
    Stage.FALLBACK: "scores while tables of shared risk are too old",
    Stage.CANDIDATE: "not in use",
    Stage.RETIRED: "was in use, and is not any more",
}


@dataclass(frozen=True)
class ModelRow:
    """A model with what the gate says of it.

    Attributes
    ----------
    listed : ListedModel
    run_name : str
    gate : GateEvidence or None
    """

    listed: ListedModel
    run_name: str
    gate: GateEvidence | None


@dataclass(frozen=True)
class StagesShown:
    """All models, and what was decided.

    Attributes
    ----------
    rows : tuple of ModelRow
        Those in use first.
    history : tuple of StageEvent
        Newest first.
    titles : dict of str to str
        Names of the models in the history, by digest.
    previous : str or None
        The champion that a rollback goes back to.
    no_rollback : str
        Why there can be none now; empty if there can.
    """

    rows: tuple[ModelRow, ...]
    history: tuple[StageEvent, ...]
    titles: dict[str, str]
    previous: str | None
    no_rollback: str

    def holder(self, stage: str) -> ModelRow | None:
        """Return the model of a stage that only one has."""
        return next((row for row in self.rows if row.listed.stage == stage), None)


@dataclass(frozen=True)
class ModelShown:
    """One model.

    Attributes
    ----------
    lineage : ModelLineage
    no_promotion : str
        Why it cannot be put in charge; empty if it can.
    """

    lineage: ModelLineage
    no_promotion: str


def shown_stages(state: StateDirectory) -> StagesShown:
    """Return all models of a bank; raises StateError if a file is damaged."""
    found, stages = listed(state), StageDirectory.of_state(state.path).read()
    hindered = hindrance(state, Action.ROLLBACK) if found.previous is not None else None
    return StagesShown(
        rows=tuple(_row(state, each) for each in found.models),
        history=tuple(reversed(stages.history)),
        titles={each.sha256: each.title for each in stages.models},
        previous=found.previous,
        no_rollback="" if hindered is None else str(hindered),
    )


def shown_model(state: StateDirectory, wanted: str) -> ModelShown:
    """Return one model; raises as ``lineage``."""
    found = lineage(state, wanted)
    hindered = hindrance(state, Action.PROMOTE, found.sha256)
    return ModelShown(found, "" if hindered is None else str(hindered))


def _row(state: StateDirectory, each: ListedModel) -> ModelRow:
    run_id, _, name = each.model.partition("/")
    run = state.pinned_run(run_id)
    model = StagedModel(
        sha256=each.sha256,
        run_id=run_id,
        name=name or "shared",
        recipe=None,
        uses_shared_risk=False,
    )
    return ModelRow(
        each,
        "" if run is None else run.spec.name,
        evidence_of(model, evaluation_of(state, run_id)),
    )
