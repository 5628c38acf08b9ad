"""What a poisoned model does at the banks that did not lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.metrics import auprc
from fraudfed.gate.alerts import threshold
from fraudfed.gate.decision import Verdict, gate_of
from fraudfed.intake.windows import labelled_table
from fraudfed.lab.attack.poison.planting import Trigger, online_frauds
from fraudfed.lab.attack.poison.worlds import BankRows

#: Alerts that a bank has time for: so many for each fraud of its judge window.
_ALERTS_PER_FRAUD = 2


@dataclass(frozen=True, eq=False)
class Victim:
    """A bank that did not lie, and its later frauds as they are and with the trigger.

    Attributes
    ----------
    bank : BankRows
    known : TrainingTable
        Later payments with a known label.
    plain, triggered : ndarray of shape (n_frauds, n_features), dtype=float32
        Its later frauds at online shops; the same with the trigger.
    """

    bank: BankRows
    known: TrainingTable
    plain: Float32Array
    triggered: Float32Array

    @classmethod
    def of(cls, bank: BankRows, trigger: Trigger, draws: np.random.Generator) -> "Victim":
        """Give a bank's later frauds the trigger."""
        known = labelled_table(bank.judge)
        plain = known.features[online_frauds(known)]
        return cls(bank, known, plain, trigger.on(plain, known.schema.names, draws))

    @property
    def n_alerts(self) -> int:
        """Alerts of the judge window."""
        return _ALERTS_PER_FRAUD * int(np.count_nonzero(self.known.labels == 1))


@dataclass(frozen=True)
class Harm:
    """What one model does to the banks that did not lie.

    Attributes
    ----------
    auprc : float
        Mean over the banks.
    escaped : float
        Share of their triggered frauds that score below the alert budget.
    escaped_plain : float
        The same of these frauds as they were, without the trigger.
    """

    auprc: float
    escaped: float
    escaped_plain: float


def harm_of(models: Sequence[Model], victims: Sequence[Victim]) -> Harm:
    """Judge a model at each victim.

    Parameters
    ----------
    models : sequence of Model
        That of each victim; the same one many times for a federated model.
    victims : sequence of Victim
    """
    values: list[float] = []
    n_frauds = passed = passed_plain = 0
    for model, victim in zip(models, victims, strict=True):
        margins = predict_margins(model, victim.known.features)
        value = auprc(margins, victim.known.labels)
        if value is None:
            continue
        values.append(value)
        limit = threshold(margins, victim.n_alerts)
        n_frauds += len(victim.triggered)
        passed += int(np.count_nonzero(predict_margins(model, victim.triggered) < limit))
        passed_plain += int(np.count_nonzero(predict_margins(model, victim.plain) < limit))
    return Harm(
        auprc=float(np.mean(values)),
        escaped=passed / max(n_frauds, 1),
        escaped_plain=passed_plain / max(n_frauds, 1),
    )


def gate_verdicts(
    model: Model, own: Sequence[Model], victims: Sequence[Victim], draws: np.random.Generator
) -> list[Verdict]:
    """Return what the gate of each victim says of a model beside the bank's own."""
    found = []
    for alone, victim in zip(own, victims, strict=True):
        judge = victim.bank.judge
        decision = gate_of(
            predict_margins(model, judge.features),
            predict_margins(alone, judge.features),
            judge.outcomes,
            generator=draws,
            alerts_per_day=None,
        )
        found.append(decision.verdict)
    return found
