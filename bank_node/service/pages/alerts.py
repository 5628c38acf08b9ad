"""What was decided about payments, and why: from the decision log, by the model of the day."""

import hashlib
import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost

from bank_node.decisions.bins import row_of
from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.state.directory import MODEL_FILE, StateDirectory
from fraudfed.boosting.model import Model
from fraudfed.boosting.model_reader import read_model
from fraudfed.errors import FraudFedError, StateError
from fraudfed.intake.plain_table import contract_schema
from fraudfed.reasons import Catalogue, Reason, reasons_in, with_shown
from fraudfed.wire.messages import DataContract

#: Where the service keeps its decisions, below the state directory.
DECISIONS = Path("serving") / "decisions"
ALLOWED = "allow"
_DAY = 86_400
_MOST_MODELS = 3


@dataclass(frozen=True)
class Explained:
    """A decision with its reasons.

    Attributes
    ----------
    decision : Decision
    reasons : tuple of Reason
    why_not : str
        Why there are none; empty if there are.
    """

    decision: Decision
    reasons: tuple[Reason, ...]
    why_not: str


class Decisions:
    """The decisions of this bank, read beside the service that makes them."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._models: dict[str, tuple[Model, xgboost.Booster, Catalogue]] = {}

    @property
    def are_there(self) -> bool:
        """Whether any decision was ever kept here."""
        return (self._state.path / DECISIONS).is_dir()

    def alerts(self, start: int, *, most: int) -> tuple[list[Decision], int]:
        """Return the newest alerts of a day, and how many payments were decided about in it.

        Parameters
        ----------
        start : int
            Of the day, UTC epoch seconds.
        most : int

        Raises
        ------
        StateError, KeyMaterialError
            If the log cannot be read.
        """
        newest: list[tuple[int, int, Decision]] = []
        decided = 0
        for decision in self._log().between(start, start + _DAY):
            decided += 1
            if decision.action == ALLOWED and decision.full_action is None:
                continue
            heapq.heappush(newest, (decision.decided_at, decided, decision))
            if len(newest) > most:
                heapq.heappop(newest)
        return [one for _, _, one in sorted(newest, reverse=True)], decided

    def explain(self, transaction_id: str) -> Explained | None:
        """Return the last decision about a payment, alerted or not; None if there is none."""
        decision = self._log().find(transaction_id)
        if decision is None:
            return None
        if not decision.bins or decision.model_sha256 is None:
            return Explained(decision, (), "it was decided without the model's score")
        try:
            return Explained(decision, self._reasons(decision, decision.model_sha256), "")
        except FraudFedError as error:
            return Explained(decision, (), str(error))

    def _log(self) -> DecisionLog:
        return DecisionLog(self._state.path / DECISIONS, self._state.vault, read_only=True)

    def _loaded(self, sha256: str) -> tuple[Model, xgboost.Booster, Catalogue]:
        found = self._models.get(sha256)
        if found is None:
            # A few at a time are asked for; two threads that read one both get the same.
            self._models = dict(list(self._models.items())[-_MOST_MODELS:])
            found = self._models[sha256] = _read(self._state, sha256)
        return found

    def _reasons(self, decision: Decision, sha256: str) -> tuple[Reason, ...]:
        model, booster, catalogue = self._loaded(sha256)
        row = row_of(decision.bins, model)
        types = ["c" if count else "q" for count in model.schema.n_categories]
        matrix = xgboost.DMatrix(
            row[np.newaxis],
            feature_names=list(catalogue.names),
            feature_types=types,
            enable_categorical=True,
        )
        contributions = booster.predict(matrix, pred_contribs=True, strict_shape=True)[0, 0]
        shown, _ = with_shown(row, getattr(decision, "shown", b""), catalogue)
        return reasons_in(
            catalogue, contributions.astype(np.float32), shown, currency=decision.currency
        )


def _read(state: StateDirectory, sha256: str) -> tuple[Model, xgboost.Booster, Catalogue]:
    content, contract, source = _model_file(state, sha256)
    model = read_model(content, schema=contract_schema(contract), source=source)
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    booster.set_param({"nthread": 1})
    return model, booster, Catalogue.of(contract)


def _model_file(state: StateDirectory, sha256: str) -> tuple[bytes, DataContract, str]:
    """Return a model by its digest, the contract of its run, and where it is.

    Raises
    ------
    StateError
        If it is no longer here.
    """
    for run in (state.path / "runs").iterdir():
        for path in (run / MODEL_FILE, *sorted((run / "evaluation").glob("*.json"))):
            content = path.read_bytes() if path.is_file() else b""
            pinned = state.pinned_run(run.name)
            if pinned is not None and hashlib.sha256(content).hexdigest() == sha256:
                return content, pinned.contract, str(path)
    raise StateError(f"model {sha256} is no longer in {state.path}; restore it to see the reasons")
