"""What the decision log has, as the answer that it was."""

import threading
from collections import OrderedDict

from bank_node.decisions.decision import NO_POLICY, Decision
from bank_node.lifecycle.past_models import past_scorer
from bank_node.service.messages import Age, Answer, ReasonsKind
from bank_node.serving.bundle import Bundle
from bank_node.serving.explain import explain_decision
from bank_node.serving.ladder import Step
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import StateDirectory
from fraudfed.reasons import Reason

#: Models of past decisions in memory: those of a service that was promoted a few times.
_MOST_PAST_MODELS = 4


class PastDecisions:
    """Makes answers of decisions, with the models that made them. Safe to use from many threads.

    Parameters
    ----------
    state : StateDirectory
        Whose models are looked for.
    """

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._scorers: OrderedDict[str, Scorer | None] = OrderedDict()
        self._reading = threading.Lock()

    def forget_models(self) -> None:
        """Look again for models that were not there."""
        with self._reading:
            self._scorers.clear()

    def answer(self, found: Decision, bundle: Bundle, *, by_bins: bool) -> Answer:
        """Return the answer that a decision was.

        Parameters
        ----------
        found : Decision
        bundle : Bundle
            What is served at present: its models need not be read.
        by_bins : bool
            Whether to give reasons that were not asked for at the time.
        """
        reasons, kind = self._reasons(found, bundle, by_bins=by_bins)
        has_policy = found.action != NO_POLICY
        return Answer(
            transaction_id=found.transaction_id,
            probability=found.probability,
            score=found.score,
            margin=found.margin,
            action=found.action if has_policy else None,
            rule=found.rule if has_policy else None,
            warn_only=found.warn_only,
            step=Step(found.step),
            has_state=found.has_state,
            model_sha256=found.model_sha256,
            policy_sha256=found.policy_sha256,
            tables_sha256=found.tables_sha256,
            age=Age(risk_days=found.risk_age_days, bundle_seconds=found.bundle_seconds),
            decided_at=found.decided_at,
            reasons=reasons,
            reasons_are=kind,
        )

    def _reasons(
        self, found: Decision, bundle: Bundle, *, by_bins: bool
    ) -> tuple[tuple[Reason, ...], ReasonsKind]:
        if not found.with_reasons and not by_bins:
            return (), ReasonsKind.NOT_ASKED
        kind = ReasonsKind.GIVEN if found.with_reasons else ReasonsKind.BY_BINS
        if found.model_sha256 is None or not found.bins:
            return (), kind
        scorer = self._scorer(found.model_sha256, bundle)
        if scorer is None:
            return (), ReasonsKind.MODEL_GONE
        if scorer.contract.kind != "transactions":
            return (), kind
        explained = explain_decision(found, scorer)
        if not explained.same_words:
            kind = ReasonsKind.REWORDED
        return explained.reasons, kind

    def _scorer(self, sha256: str, bundle: Bundle) -> Scorer | None:
        for scorer in (bundle.champion, bundle.second):
            if scorer is not None and scorer.sha256 == sha256:
                return scorer
        with self._reading:
            if sha256 not in self._scorers:
                if len(self._scorers) >= _MOST_PAST_MODELS:
                    self._scorers.popitem(last=False)
                self._scorers[sha256] = past_scorer(self._state, sha256)
            self._scorers.move_to_end(sha256)
            return self._scorers[sha256]
