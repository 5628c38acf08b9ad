"""Answer about payments: judge, decide, write down, remember.

Laws: an answer is that of one bundle. The same payment sent again gets the same answer. What was
answered is in the decision log before the caller hears it; what a challenger says comes after that,
and changes nothing.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bank_node.decisions.log import DecisionLog
from bank_node.outcomes.history import LabelHistory
from bank_node.service.again import PastDecisions
from bank_node.service.loading import Sources
from bank_node.service.measures import Measures
from bank_node.service.messages import (
    NOT_REMEMBERED,
    Age,
    Answer,
    LoggedAnswer,
    NotedLabels,
    ReasonsKind,
    SentLabel,
    SentPayment,
    Serving,
)
from bank_node.service.past_answers import PastAnswers
from bank_node.service.recording import (
    decision_of,
    payment_of,
    reasons_of,
    require_same,
)
from bank_node.service.shadow import Shadow
from bank_node.service.writing import Disk, is_of_disk
from bank_node.serving.bundle import Bundle
from bank_node.serving.deciding import decide
from bank_node.serving.ladder import Ladder, Step
from bank_node.serving.store.arrival import StoreTerms
from bank_node.serving.store.protocol import Arrival, FeatureStore
from fraudfed.errors import DataError, FraudFedError, NotFoundError, StateError, UnavailableError
from fraudfed.features.payment import Payment

_log = logging.getLogger(__name__)

#: A payment later than this after now would make all others late.
_MOST_AHEAD_SECONDS = 86_400
#: Between two syncs to disk of what is there already after a crash of the process.
_SYNC_SECONDS = 0.5
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
    directory : Path
        Where the log and the labels are.
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
        directory: Path,
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
        self._disk = Disk(directory)
        self._loaded = _Loaded(sources.read(terms).load(), clock())
        self._past = PastAnswers()
        self._decided = PastDecisions(sources.state)
        self._shadow = Shadow(
            decisions.append_challenger_margin, self.measures.challenger_failures.inc
        )
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
            If the recipe cannot score it, or the policy cannot compare amounts in its currency.
        UnavailableError
            If the decision, or the payment, cannot be written down on this machine. A store
            elsewhere that does not answer is a step of the ladder.
        """
        with self._past.lock_of(sent.transaction_id):
            payment = self._checked(sent)
            answer = self._past.find(sent) or self._from_log(payment)
            if answer is None:
                answer = self._answer(payment, reasons=reasons)
                self.measures.steps.labels(answer.step.value).inc()
                self.measures.actions.labels(answer.action or "none").inc()
            self._past.keep(sent, answer)
            if not observe:
                return answer
            arrival: Arrival | str
            try:
                arrival = self._observe(payment)
            except UnavailableError as error:
                if is_of_disk(error):
                    raise
                # The answer stands, and says so: what is lost is for later features only.
                arrival = NOT_REMEMBERED
                self.measures.arrivals.labels(arrival).inc()
            return answer.model_copy(update={"arrival": arrival})

    def observe(self, sent: SentPayment) -> Arrival:
        """Remember a payment without a score; raises as ``score``."""
        with self._past.lock_of(sent.transaction_id):
            return self._observe(self._checked(sent))

    def label(self, labels: tuple[SentLabel, ...]) -> NotedLabels:
        """Write down what was heard; of a payment that was scored here, its identifier is enough.

        Raises
        ------
        ConflictError
            If a label was given as final.
        DataError
            If a fraud was heard of before its payment.
        UnavailableError
            If it cannot be written down.
        """
        payments = [self._reported(one) for one in labels]
        for one, payment in zip(labels, payments, strict=True):
            if payment is not None and one.time < payment.event_time:
                raise DataError(
                    f"transaction {one.transaction_id!r}: label's time is {one.time}, expected at "
                    f"or after the payment's event_time {payment.event_time}; mend one"
                )
        with self._labelling, self._disk.writing():
            new = self._labels.add([one.heard() for one in labels])
            unknown = []
            for one, payment in zip(labels, payments, strict=True):
                if one.status not in _FRAUD:
                    continue
                if payment is None:
                    unknown.append(one.transaction_id)
                else:
                    self._store.report(payment, report_time=one.time)
            self._store.commit()
        return NotedLabels(new=new, unknown_payments=tuple(dict.fromkeys(unknown)))

    def _reported(self, label: SentLabel) -> Payment | None:
        """Return the payment that a label says to be a fraud; None if it says something else."""
        if label.status not in _FRAUD:
            return None
        if label.payment is not None:
            return label.payment.payment()
        found = self._decisions.find(label.transaction_id)
        return None if found is None else payment_of(found)

    def decision(self, transaction_id: str) -> LoggedAnswer:
        """Return what was answered about a payment; raises NotFoundError."""
        found = self._decisions.find(transaction_id)
        if found is None:
            raise NotFoundError(f"no decision about transaction {transaction_id!r} is here")
        return LoggedAnswer(
            **dict(self._decided.answer(found, self._loaded.bundle, by_bins=True)),
            challenger_sha256=found.challenger_sha256,
            challenger_margin=found.challenger_margin,
        )

    def serving(self) -> Serving:
        """Return what decides at present."""
        return _serving(self._loaded.bundle)

    def swap(self, run_id: str | None = None) -> Serving:
        """Read model, policy and tables again, and use them from the next request on.

        Parameters
        ----------
        run_id : str or None
            Whose model to serve until the next swap; None is what the service was started with: by
            default the champion of the life cycle.

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
            self._loaded = _Loaded(bundle, self._clock())
            self._decided.forget_models()
            self.measures.swaps.labels("done").inc()
            _log.info("swapped: model %s", bundle.model_sha256)
            return _serving(bundle)

    def require_ready(self) -> None:
        """Raise UnavailableError if the service stops, or its disk does not take anything."""
        if self.stopping:
            raise UnavailableError("the scoring service is stopping; ask again when it is back")
        self._disk.require()
        with self._disk.writing():
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
        with self._disk.writing():
            arrival = self._ladder.observe(payment)
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
        decided = None
        if bundle.policy is not None:
            amount_minor = bundle.policy_amount(payment)
            decided = decide(bundle.policy, payment, judged, amount_minor=amount_minor)
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
            reasons=reasons_of(bundle, judged, payment.currency) if reasons else (),
            reasons_are=ReasonsKind.GIVEN if reasons else ReasonsKind.NOT_ASKED,
        )
        with self._disk.writing():
            written = self._decisions.append(decision_of(bundle, payment, judged, answer, decided))
        if bundle.challenger is not None and judged.full_row is not None:
            self._shadow.score(bundle, judged.full_row, written)
        return answer

    def _from_log(self, payment: Payment) -> Answer | None:
        """Return the answer of before this process's memory."""
        found = self._decisions.find(payment.transaction_id)
        if found is None:
            return None
        require_same(found, payment)
        return self._decided.answer(found, self._loaded.bundle, by_bins=False)

    def _sync_often(self) -> None:
        while not self._closing.wait(_SYNC_SECONDS):
            with contextlib.suppress(StateError, OSError):
                self._decisions.commit()


def _serving(bundle: Bundle) -> Serving:
    return Serving(
        model_sha256=bundle.model_sha256,
        policy_sha256=None if bundle.policy is None else bundle.policy.sha256,
        tables_sha256=None if bundle.tables is None else bundle.tables.sha256,
        second_sha256=None if bundle.second is None else bundle.second.sha256,
        challenger_sha256=None if bundle.challenger is None else bundle.challenger.sha256,
        recipe=bundle.contract.recipe,
    )
