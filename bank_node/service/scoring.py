"""Answer about payments: judge, decide, write down, remember.

Laws: an answer is that of one bundle. The same payment sent again gets the same answer. What was
answered is in the decision log before the caller hears it (with a challenger: soon after).
"""

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bank_node.decisions.bins import bins_of
from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.lifecycle.past_models import past_scorer
from bank_node.outcomes.history import LabelHistory
from bank_node.policy import Decided
from bank_node.service.loading import Sources
from bank_node.service.measures import Measures
from bank_node.service.messages import (
    Age,
    Answer,
    ReasonsKind,
    SentLabel,
    SentPayment,
    Serving,
)
from bank_node.service.past_answers import PastAnswers, other_content
from bank_node.service.shadow import Shadow
from bank_node.serving.bundle import Bundle
from bank_node.serving.explain import explain_decision
from bank_node.serving.ladder import Judged, Ladder, Step
from bank_node.serving.scorer import Scorer
from bank_node.serving.store.arrival import StoreTerms
from bank_node.serving.store.protocol import Arrival, FeatureStore
from fraudfed.errors import DataError, FraudFedError, NotFoundError, StateError, UnavailableError
from fraudfed.features.payment import Payment
from fraudfed.reasons import Catalogue, Reason, reasons_in, shown_values

_log = logging.getLogger(__name__)

#: A payment later than this after now would make all others late.
_MOST_AHEAD_SECONDS = 86_400
#: Between two syncs to disk of what is there already after a crash of the process.
_SYNC_SECONDS = 0.5
#: Models of past decisions in memory: those of a service that was promoted a few times.
_MOST_PAST_MODELS = 4
_FRAUD = frozenset({"reported", "confirmed_fraud"})


@dataclass(frozen=True)
class _Loaded:
    bundle: Bundle
    since: float


class ScoringService:
    """All that the endpoints call. Safe to use from many threads.

    Parameters
    ----------
    sources : Sources
    terms : StoreTerms
        Of the store.
    store : FeatureStore
    decisions : DecisionLog
    labels : LabelHistory
    deadline_seconds : float
        Of one payment.
    clock : callable
        UTC epoch seconds.
    """

    def __init__(
        self,
        sources: Sources,
        terms: StoreTerms,
        store: FeatureStore,
        decisions: DecisionLog,
        labels: LabelHistory,
        *,
        deadline_seconds: float = 0.05,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources, self._terms, self._store = sources, terms, store
        self._decisions, self._labels = decisions, labels
        self._deadline_seconds = deadline_seconds
        self._clock = clock
        self.measures = Measures()
        self._ladder = Ladder(store)
        self._loaded = _Loaded(sources.read(terms).load(), clock())
        self._past = PastAnswers()
        self._past_scorers: OrderedDict[str, Scorer | None] = OrderedDict()
        self._reading_past = threading.Lock()
        self._shadow = Shadow(self.measures.challenger_failures.inc)
        self._swapping = threading.Lock()
        self._labelling = threading.Lock()
        self._closing = threading.Event()
        self._syncing = threading.Thread(target=self._sync_often, name="sync", daemon=True)
        self._syncing.start()

    def now(self) -> int:
        """Return the time, UTC epoch seconds."""
        return int(self._clock())

    @property
    def stopping(self) -> bool:
        """Whether the service takes nothing new."""
        return self._closing.is_set()

    def stop(self) -> None:
        """Take nothing new; what was begun is finished."""
        self._closing.set()

    def close(self) -> None:
        """Finish, and let go of store and log."""
        self.stop()
        self._syncing.join()
        self._shadow.close()
        self._ladder.close()
        self._store.close()
        self._decisions.close()

    def score(self, sent: SentPayment, *, reasons: bool, observe: bool = False) -> Answer:
        """Answer about a payment, and remember it if it is to be observed.

        Raises
        ------
        ConflictError
            If its identifier was used for another payment.
        DataError
            If the recipe cannot score it.
        UnavailableError
            If the decision, or the payment, cannot be written down.
        """
        with self._past.lock_of(sent.transaction_id):
            payment = self._checked(sent)
            answer = self._past.find(sent) or self._from_log(payment)
            if answer is None:
                answer = self._answer(payment, reasons=reasons)
                self.measures.steps.labels(answer.step.value).inc()
                self.measures.actions.labels(answer.action or "none").inc()
            self._past.keep(sent, answer)
            if observe:
                answer = answer.model_copy(update={"arrival": self._observe(payment)})
            return answer

    def observe(self, sent: SentPayment) -> Arrival:
        """Remember a payment without a score; raises as ``score``."""
        with self._past.lock_of(sent.transaction_id):
            return self._observe(self._checked(sent))

    def label(self, labels: tuple[SentLabel, ...]) -> int:
        """Write down what was heard, and return how much of it is new.

        Raises
        ------
        ConflictError
            If a label was given as final.
        UnavailableError
            If it cannot be written down.
        """
        with self._labelling, _as_unavailable():
            new = self._labels.add([one.heard() for one in labels])
            for one in labels:
                if one.payment is not None and one.status in _FRAUD:
                    self._store.report(one.payment.payment(), report_time=one.time)
            self._store.commit()
        return new

    def decision(self, transaction_id: str) -> Answer:
        """Return what was answered about a payment; raises NotFoundError."""
        found = self._decisions.find(transaction_id)
        if found is None:
            raise NotFoundError(f"no decision about transaction {transaction_id!r} is here")
        return self._again(found, by_bins=True)

    def serving(self) -> Serving:
        """Return what decides at present."""
        return _serving(self._loaded.bundle)

    def swap(self, run_id: str | None = None) -> Serving:
        """Read model, policy and tables again, and use them from the next request on.

        Raises
        ------
        FraudFedError
            If they cannot be used: the old ones stay.
        """
        with self._swapping:
            try:
                sources = self._sources if run_id is None else self._sources.of_run(run_id)
                bundle = sources.read(self._terms).load()
            except FraudFedError as error:
                self.measures.swaps.labels("refused").inc()
                _log.warning("swap refused, the service continues as before: %s", error)
                raise
            self._sources = sources
            self._loaded = _Loaded(bundle, self._clock())
            with self._reading_past:
                # One that was not there may have come since.
                self._past_scorers.clear()
            self.measures.swaps.labels("done").inc()
            _log.info("swapped: model %s", bundle.model_sha256)
            return _serving(bundle)

    def require_ready(self) -> None:
        """Raise UnavailableError if the service stops, or its disk does not take anything."""
        if self.stopping:
            raise UnavailableError("the scoring service is stopping; ask again when it is back")
        with _as_unavailable():
            self._decisions.commit()

    def _checked(self, sent: SentPayment) -> Payment:
        if sent.event_time > self._clock() + _MOST_AHEAD_SECONDS:
            raise DataError(
                f"transaction {sent.transaction_id!r}: event_time {sent.event_time} is more than "
                "a day ahead of this machine's clock, expected UTC epoch seconds of the past; "
                "mend the time or the clock"
            )
        return sent.payment()

    def _observe(self, payment: Payment) -> Arrival:
        with _as_unavailable():
            arrival = self._store.observe(payment)
            # From here on a crash of the process loses nothing of it.
            self._store.commit()
        self.measures.arrivals.labels(arrival.value).inc()
        return arrival

    def _answer(self, payment: Payment, *, reasons: bool) -> Answer:
        loaded = self._loaded
        bundle = loaded.bundle
        judged = self._ladder.judge(
            payment, bundle, seconds=self._deadline_seconds, contributions=reasons
        )
        if judged.step is not Step.FULL:
            _log.warning("a payment was answered at step %s of the ladder", judged.step.value)
        decided = _decide(bundle, payment, judged)
        now = self._clock()
        scored = judged.scored
        answer = Answer(
            transaction_id=payment.transaction_id,
            probability=None if scored is None else scored.probability,
            score=None if scored is None else scored.score,
            margin=None if scored is None else scored.margin,
            action=None if decided is None else decided.action.value,
            rule=None if decided is None else decided.rule,
            warn_only=decided is not None and decided.warn_only,
            step=judged.step,
            has_state=judged.has_state,
            model_sha256=None if judged.scorer is None else judged.scorer.sha256,
            policy_sha256=None if bundle.policy is None else bundle.policy.sha256,
            tables_sha256=None if bundle.tables is None else bundle.tables.sha256,
            age=Age(risk_days=judged.risk_age_days, bundle_seconds=max(0, int(now - loaded.since))),
            decided_at=int(now),
            reasons=_reasons(bundle, judged, payment.currency) if reasons else (),
            reasons_are=ReasonsKind.GIVEN if reasons else ReasonsKind.NOT_ASKED,
        )
        self._write_down(bundle, payment, judged, answer, decided)
        return answer

    def _write_down(
        self,
        bundle: Bundle,
        payment: Payment,
        judged: Judged,
        answer: Answer,
        decided: Decided | None,
    ) -> None:
        bins = shown = b""
        if judged.scorer is not None and judged.row is not None:
            bins = bins_of(judged.row, judged.scorer.model)
            catalogue = _catalogue_of(bundle, judged.scorer)
            if catalogue is not None:
                shown = shown_values(answer.reasons, judged.row, catalogue)
        challenger = bundle.challenger

        def write(challenger_margin: float | None) -> None:
            decision = Decision(
                transaction_id=payment.transaction_id,
                customer_id=payment.customer_id,
                event_time=payment.event_time,
                decided_at=answer.decided_at,
                channel=payment.channel,
                direction=payment.direction,
                amount_minor=payment.amount_minor,
                currency=payment.currency,
                margin=answer.margin,
                score=answer.score,
                probability=answer.probability,
                action=answer.action or "allow",
                rule=answer.rule or "no policy",
                step=answer.step.value,
                model_sha256=answer.model_sha256,
                policy_sha256=answer.policy_sha256,
                tables_sha256=answer.tables_sha256,
                bins=bins,
                shown=shown,
                challenger_sha256=None if challenger is None else challenger.sha256,
                challenger_margin=challenger_margin,
                propensity=None if decided is None else decided.propensity,
                full_action=None if decided is None else decided.full_action.value,
                has_state=answer.has_state,
                warn_only=answer.warn_only,
                with_reasons=answer.reasons_are is ReasonsKind.GIVEN,
                risk_age_days=answer.age.risk_days,
                bundle_seconds=answer.age.bundle_seconds,
            )
            with _as_unavailable():
                self._decisions.append(decision)

        if challenger is None or judged.full_row is None:
            write(None)
        else:
            self._shadow.score(bundle, judged.full_row, write)

    def _from_log(self, payment: Payment) -> Answer | None:
        """Return the answer of before this process's memory."""
        found = self._decisions.find(payment.transaction_id)
        if found is None:
            return None
        for name in (
            "customer_id",
            "event_time",
            "amount_minor",
            "channel",
            "direction",
            "currency",
        ):
            if getattr(found, name) != getattr(payment, name):
                raise other_content(payment.transaction_id)
        return self._again(found, by_bins=False)

    def _again(self, found: Decision, *, by_bins: bool) -> Answer:
        """Return the answer that a decision was.

        Parameters
        ----------
        found : Decision
        by_bins : bool
            Whether to give reasons that were not asked for at the time.
        """
        reasons, kind = self._reasons_again(found, by_bins=by_bins)
        has_policy = found.policy_sha256 is not None
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

    def _reasons_again(
        self, found: Decision, *, by_bins: bool
    ) -> tuple[tuple[Reason, ...], ReasonsKind]:
        if not found.with_reasons and not by_bins:
            return (), ReasonsKind.NOT_ASKED
        kind = ReasonsKind.GIVEN if found.with_reasons else ReasonsKind.BY_BINS
        if found.model_sha256 is None or not found.bins:
            return (), kind
        scorer = self._scorer_of(found.model_sha256)
        if scorer is None:
            return (), ReasonsKind.MODEL_GONE
        if scorer.contract.kind != "transactions":
            return (), kind
        explained = explain_decision(found, scorer)
        if not explained.same_words:
            kind = ReasonsKind.REWORDED
        return explained.reasons, kind

    def _scorer_of(self, sha256: str) -> Scorer | None:
        """Return the model of a past decision: one that is served, or was."""
        bundle = self._loaded.bundle
        for scorer in (bundle.champion, bundle.second):
            if scorer is not None and scorer.sha256 == sha256:
                return scorer
        with self._reading_past:
            if sha256 not in self._past_scorers:
                if len(self._past_scorers) >= _MOST_PAST_MODELS:
                    self._past_scorers.popitem(last=False)
                self._past_scorers[sha256] = past_scorer(self._sources.state, sha256)
            self._past_scorers.move_to_end(sha256)
            return self._past_scorers[sha256]

    def _sync_often(self) -> None:
        while not self._closing.wait(_SYNC_SECONDS):
            with contextlib.suppress(StateError, OSError):
                self._decisions.commit()


def _decide(bundle: Bundle, payment: Payment, judged: Judged) -> Decided | None:
    if bundle.policy is None:
        return None
    scored = judged.scored
    return bundle.policy.decide(
        probability=None if scored is None else scored.probability,
        score=None if scored is None else scored.score,
        amount_minor=payment.amount_minor,
        channel=payment.channel,
        direction=payment.direction,
    )


def _reasons(bundle: Bundle, judged: Judged, currency: str | None) -> tuple[Reason, ...]:
    if judged.scored is None or judged.scorer is None or judged.row is None:
        return ()
    contributions = judged.scored.contributions
    catalogue = _catalogue_of(bundle, judged.scorer)
    if contributions is None or catalogue is None:
        return ()
    return reasons_in(catalogue, contributions, judged.row, currency=currency)


def _catalogue_of(bundle: Bundle, scorer: Scorer) -> Catalogue | None:
    return bundle.catalogue if scorer is bundle.champion else bundle.second_catalogue


def _serving(bundle: Bundle) -> Serving:
    return Serving(
        model_sha256=bundle.model_sha256,
        policy_sha256=None if bundle.policy is None else bundle.policy.sha256,
        tables_sha256=None if bundle.tables is None else bundle.tables.sha256,
        second_sha256=None if bundle.second is None else bundle.second.sha256,
        challenger_sha256=None if bundle.challenger is None else bundle.challenger.sha256,
        recipe=bundle.contract.recipe,
    )


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    """Turn what a disk refuses into what is no mistake of the caller."""
    try:
        yield
    except (StateError, OSError) as error:
        _log.exception("something cannot be written down")
        raise UnavailableError(
            "the scoring service cannot write down anything at present; send the same again later"
        ) from error
