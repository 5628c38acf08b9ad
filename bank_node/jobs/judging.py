"""Judge the model that a run ends with, on all banks' rows: the last step of its work.

The rows are those of the window that judges, and where a run has none, of the one that selects; the
result says which. They are used once: the verdict is part of the state from then on, so that a bank
which continues, and a set of banks that changes, does not sum over them again.

Under privacy terms a verdict is made of one noised release, and of nothing else; where the terms
leave no share for it there is none.

Law: the same rows give the same verdict, with the same bytes, at every bank and after any crash.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, Generic, Literal, Self, TypeVar, cast

import numpy as np
from pydantic import ValidationError

from bank_node.data.spread import SpreadJudged
from bank_node.run.job import StepState
from bank_node.run.progress import RunProgress
from bank_node.run.record import RecordPart
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.communicator import Communicator, NoisingCommunicator
from fraudfed.errors import StateError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.evaluation.plan import MOST_OWN_GROUPS, PAYMENT_GROUPS, JudgingPlan
from fraudfed.evaluation.pooled import check_judged_rows, judge
from fraudfed.evaluation.private.own_counts import check_customers
from fraudfed.evaluation.private.release import NoisedJudging, judge_noised
from fraudfed.evaluation.private.report import NoisedReport
from fraudfed.evaluation.report import PooledReport
from fraudfed.intake.windows import JUDGE, SELECT, Windows
from fraudfed.privacy.accounting import rho_of, usable_delta
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit
from fraudfed.wire.messages import DataContract

_log = logging.getLogger(__name__)

S = TypeVar("S", bound=StepState)

#: In front of a state with a verdict; no state of a work begins so.
_MAGIC: Final = b"FFJUDGED"
#: Of the length of a verdict.
_LENGTH_BYTES: Final = 4

#: What stands beside the numbers of each window.
NOTES: Final = {
    JUDGE: "on payments later than all that the model was trained and chosen on",
    SELECT: "on the payments that the trees were chosen by: better than life; set --judge-until",
    None: "no rows were kept to judge by; set --judge-until",
}
_SHARES: Final = (
    "on one row in five, chosen by a hash of its content: no later than those trained on, so "
    "better than life"
)
_NOT_TOLD: Final = (
    "the run's privacy terms leave no share of the bound for metrics (metric_share 0): nothing is "
    "told of how good the model is"
)
_ONE_CLASS: Final = "no bank has a fraud there, or none a clean payment: there is nothing to judge"


class Verdict(RecordPart):
    """What all banks' rows say of the model of a run.

    Attributes
    ----------
    window : {"judge", "select"} or None
        Which rows were judged by; None if the run keeps none.
    note : str
        What that means for the numbers.
    report : PooledReport or None
        None without such rows, if they are of one class, or under privacy terms.
    noised : NoisedReport or None
        In place of ``report``, under privacy terms.
    """

    window: Literal["judge", "select"] | None = None
    note: str
    report: PooledReport | None = None
    noised: NoisedReport | None = None

    def to_bytes(self) -> bytes:
        """Return canonical bytes."""
        return self.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` has written; raises StateError for anything else."""
        try:
            found = cls.model_validate_json(data)
        except ValidationError:
            found = None
        if found is None or found.to_bytes() != data:
            raise StateError("the verdict on a model is damaged; take another copy of the state")
        return found


@dataclass(frozen=True, eq=False)
class JudgedState(Generic[S]):
    """Where a work stands whose last step judges its result; see ``StepState``.

    Attributes
    ----------
    work : state of the work
    verdict : Verdict or None
        None until the last step.
    """

    work: S
    verdict: Verdict | None = None

    @property
    def n_steps(self) -> int:
        """Finished steps: those of the work, and the judging."""
        return self.work.n_steps + (self.verdict is not None)

    def to_bytes(self) -> bytes:
        """Return the state of the work; before it, if there is one, the verdict."""
        if self.verdict is None:
            return self.work.to_bytes()
        verdict = self.verdict.to_bytes()
        length = len(verdict).to_bytes(_LENGTH_BYTES, "big")
        return _MAGIC + length + verdict + self.work.to_bytes()

    @classmethod
    def from_bytes(
        cls, data: bytes, decode: Callable[[bytes], S], *, is_finished: Callable[[S], bool]
    ) -> "JudgedState[S]":
        """Read a state.

        Parameters
        ----------
        decode : callable
            Reads the state of the work.
        is_finished : callable
            Whether the work has no step left: only then can it be judged.

        Raises
        ------
        StateError
            If the bytes are no such state.
        """
        if not data.startswith(_MAGIC):
            return cls(decode(data))
        start = len(_MAGIC) + _LENGTH_BYTES
        end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
        verdict = Verdict.from_bytes(data[start:end])
        work = decode(data[end:])
        if not is_finished(work):
            raise StateError("the state holds a verdict on a model that is not finished")
        return cls(work, verdict)


@dataclass(frozen=True, eq=False)
class Judging:
    """A bank's rows to judge by.

    Attributes
    ----------
    rows : JudgedRows, SpreadJudged or None
        None at every bank if the run keeps none.
    window : {"judge", "select"} or None
    note : str
    plan : JudgingPlan
    noised : NoisedJudging or None
        Under privacy terms: the only thing that is released.
    """

    rows: JudgedRows | SpreadJudged | None = None
    window: Literal["judge", "select"] | None = None
    note: str = NOTES[None]
    plan: JudgingPlan = field(default_factory=JudgingPlan)
    noised: NoisedJudging | None = None

    @classmethod
    def of(
        cls, windows: Windows, contract: DataContract, *, terms: PrivacyTerms | None = None
    ) -> "Judging":
        """Choose the rows, and check them before this bank joins.

        Parameters
        ----------
        windows : Windows
        contract : DataContract
        terms : PrivacyTerms or None
            Of a run with privacy terms.

        Raises
        ------
        DataError, ParameterError
            As ``check_judged_rows`` and ``under``.
        """
        rows: JudgedRows | None = None
        window: Literal["judge", "select"] | None = None
        if windows.judge is not None:
            rows, window = windows.judge, "judge"
        elif windows.select is not None:
            rows, window = windows.select, "select"
        return cls.by(rows, window, contract, terms=terms)

    @classmethod
    def by(
        cls,
        rows: JudgedRows | SpreadJudged | None,
        window: Literal["judge", "select"] | None,
        contract: DataContract,
        *,
        terms: PrivacyTerms | None = None,
    ) -> "Judging":
        """Take rows that have been chosen; for the rest as ``of``."""
        note = NOTES[window]
        if window == "judge" and contract.kind == "table":
            note = _SHARES
        own_groups = _own_groups(contract)
        if rows is not None:
            if isinstance(rows, SpreadJudged):
                rows = rows.with_groups(own_groups)
            else:
                rows = _with_groups(rows, own_groups)
            check_judged_rows(rows.outcomes)
        n_alerts = None
        if contract.alerts_per_day is not None:
            n_alerts = contract.alerts_per_day * contract.judged_days
        plan = JudgingPlan(n_alerts=n_alerts, groups={**PAYMENT_GROUPS, **own_groups})
        judging = cls(rows, window, note, plan)
        return judging if terms is None else judging.under(terms)

    def under(self, terms: PrivacyTerms) -> "Judging":
        """Return how the model of a run with privacy terms is judged.

        Parameters
        ----------
        terms : PrivacyTerms
            With a ``metric_share`` of 0 nothing is told, and no row is looked at.

        Raises
        ------
        DataError
            If customers are the unit and the rows name none.
        ParameterError
            As ``NoisedJudging.of``.
        """
        if terms.metric_share == 0:
            return Judging(note=_NOT_TOLD)
        if self.rows is None:
            return self
        row_cap = terms.row_cap if terms.unit is PrivacyUnit.CUSTOMER else None
        if row_cap is not None:
            check_customers(self.rows.outcomes)
        whole = rho_of(terms.epsilon, usable_delta(terms.epsilon, terms.delta))
        rho = Fraction(terms.metric_share) * whole
        return replace(self, noised=NoisedJudging.of(rho=rho, row_cap=row_cap))

    @property
    def without_rows(self) -> Verdict | None:
        """The verdict of a run that keeps no rows to judge by; None if it keeps some."""
        return Verdict(note=self.note) if self.rows is None else None

    def judge(
        self,
        model: Model,
        communicator: Communicator,
        progress: RunProgress,
        *,
        threads: int,
    ) -> Verdict:
        """Judge a model with the other banks.

        Raises
        ------
        FraudFedError
            As ``fraudfed.evaluation.pooled.judge``, or ``private.release.judge_noised``.
        """
        if self.rows is None:
            return Verdict(note=self.note)
        progress.steps("judging", 0, 1, self.note)
        if isinstance(self.rows, SpreadJudged):
            margins = self.rows.margins(model)
        else:
            margins = predict_margins(model, self.rows.features, threads=threads)
        if self.noised is not None:
            told = judge_noised(
                margins,
                self.rows.outcomes,
                _noising(communicator),
                judging=self.noised,
                plan=self.plan,
                # Which of a customer's rows count is for this bank alone to know; a contribution
                # that was sealed before a crash is sent again as it was.
                draw=np.random.default_rng(secrets.randbits(256)),
            )
            progress.steps("judging", 1, 1, self.note)
            verdict = Verdict(window=self.window, note=self.note, noised=told)
            _log.info("model judged", extra={"judged": summary(verdict)})
            return verdict
        report = judge(margins, self.rows.outcomes, communicator, plan=self.plan)
        progress.steps("judging", 1, 1, self.note)
        note = self.note if report is not None else _ONE_CLASS
        verdict = Verdict(window=self.window, note=note, report=report)
        _log.info("model judged", extra={"judged": summary(verdict)})
        return verdict


def _noising(communicator: Communicator) -> NoisingCommunicator:
    if not hasattr(communicator, "noised_sum"):
        raise TypeError("a run with privacy terms needs a communicator that adds noise")
    return cast(NoisingCommunicator, communicator)


def _own_groups(contract: DataContract) -> dict[str, tuple[str, ...]]:
    """Return the consortium's own columns that make groups of payments, with their values."""
    return {
        spec.name: spec.categories
        for spec in contract.own_columns
        if spec.categories is not None
        and len(spec.categories) <= MOST_OWN_GROUPS
        and spec.name not in PAYMENT_GROUPS
    }


def _with_groups(rows: JudgedRows, groups: Mapping[str, tuple[str, ...]]) -> JudgedRows:
    """Return the rows with the codes of some of their columns as groups; -1 is missing."""
    if not groups:
        return rows
    cells = dict(rows.outcomes.cells)
    for name in groups:
        codes = rows.features[:, rows.schema.names.index(name)]
        cells[name] = np.where(np.isnan(codes), -1, codes).astype(np.int64)
    return replace(rows, outcomes=replace(rows.outcomes, cells=cells))


def summary(verdict: Verdict) -> dict[str, float | int | str | None]:
    """Return what a line of the log says of a verdict."""
    found: dict[str, float | int | str | None] = {"window": verdict.window, "note": verdict.note}
    if verdict.report is not None:
        known = verdict.report.known
        values = {
            "auprc": known.auprc,
            "auc": known.auc,
            "recall_at_1pct_fpr": next(
                (at.recall for at in known.at_rates if at.rate == 0.01), None
            ),
            "case_recall": known.at_budget.case_recall,
        }
        found |= {"rows": known.rows, "frauds": known.frauds, "cases": known.cases}
        found |= {
            name: None if value is None else round(value.estimate, 6)
            for name, value in values.items()
        }
    if verdict.noised is not None:
        auprc = verdict.noised.auprc
        found["noised_auprc"] = None if auprc is None else round(auprc.estimate, 6)
    return found
