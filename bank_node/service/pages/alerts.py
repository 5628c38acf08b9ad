"""What was decided about payments, and why: from the decision log, by the model of the day."""

import heapq
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.lifecycle.models_on_hand import model_of_digest, pinned
from bank_node.serving.explain import explain_decision
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import StateDirectory
from fraudfed.errors import FraudFedError, StateError
from fraudfed.payments.currencies import EXPONENTS
from fraudfed.reasons import Reason
from fraudfed.wire.messages import DataContract

#: Where the service keeps its decisions, below the state directory.
DECISIONS = Path("serving") / "decisions"
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
        self._scorers: dict[str, Scorer] = {}

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
        with closing(self._log()) as log:
            for decision in log.between(start, start + _DAY):
                decided += 1
                if not (decision.is_alert or decision.was_softened):
                    continue
                heapq.heappush(newest, (decision.decided_at, decided, decision))
                if len(newest) > most:
                    heapq.heappop(newest)
        return [one for _, _, one in sorted(newest, reverse=True)], decided

    def explain(self, transaction_id: str) -> Explained | None:
        """Return the last decision about a payment, alerted or not; None if there is none."""
        with closing(self._log()) as log:
            decision = log.find(transaction_id)
        if decision is None:
            return None
        if not decision.bins or decision.model_sha256 is None:
            return Explained(decision, (), "it was decided without the model's score")
        try:
            found = explain_decision(decision, self._scorer(decision.model_sha256))
            return Explained(decision, found.reasons, "")
        except FraudFedError as error:
            return Explained(decision, (), str(error))

    def _log(self) -> DecisionLog:
        return DecisionLog(self._state.path / DECISIONS, self._state.vault, read_only=True)

    def _scorer(self, sha256: str) -> Scorer:
        found = self._scorers.get(sha256)
        if found is None:
            # A few at a time are asked for; two threads that read one both get the same.
            self._scorers = dict(list(self._scorers.items())[-_MOST_MODELS:])
            path, contract = _model_file(self._state, sha256)
            found = self._scorers[sha256] = Scorer.read(path, contract)
        return found


def _model_file(state: StateDirectory, sha256: str) -> tuple[Path, DataContract]:
    """Return the file of a model by its digest, and the contract of its run.

    Raises
    ------
    StateError
        If it is not here.
    """
    found = model_of_digest(state, sha256)
    if found is None:
        raise StateError(
            f"model {sha256} is neither among the runs nor among the staged models of this bank; "
            "restore its file to see the reasons"
        )
    path, run_id = found
    return path, pinned(state, run_id).contract


def money(decision: Decision) -> str:
    """Return a payment's amount in its currency's main unit; minor units if that is not known."""
    exponent = EXPONENTS.get(decision.currency or "")
    if exponent is None:
        return f"{decision.amount_minor:,} minor units"
    return f"{decision.currency} {decision.amount_minor / 10**exponent:,.{exponent}f}"
