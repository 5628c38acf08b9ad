"""``evaluation.json``: what ``bank-node evaluate`` found. It stays at the bank."""

from typing import Literal

from pydantic import Field

from fraudfed.console import Answer
from fraudfed.evaluation.readings import Reading
from fraudfed.gate.decision import Verdict
from fraudfed.wire.messages import BankName, RunKind, Sha256


class Bounds(Answer):
    """A number with its one-sided bounds, each at the stated confidence."""

    estimate: float
    lower: float
    upper: float


class EvaluatedWindow(Answer):
    """A window of this bank's rows.

    Attributes
    ----------
    name : str
        ``train``, ``select`` or ``judge``.
    rows, frauds, censored : int
        Censored: stopped by the bank and reported by nobody.
    first_event, last_event : int or None
        UTC epoch seconds; None for tables without times.
    """

    name: str
    rows: int
    frauds: int
    censored: int
    first_event: int | None
    last_event: int | None


class EvaluatedModel(Answer):
    """A model, and what it reaches on the judge window.

    Attributes
    ----------
    name : str
        ``shared``; ``own``, ``own_risk``; ``slope``, ``blend``, ``continued``.
    what : str
        In words.
    file : str
        One stock XGBoost file, with the columns of the run.
    sha256 : str
    trees : int
    candidate : str or None
        That the bank's own search chose.
    select_auprc : float or None
        By which it was chosen, on the select window.
    case_recall, auprc : Bounds
        Case recall at the alert budget.
    case_value_recall : Bounds or None
        Each case weighted by its money; None without amounts.
    threshold : float or None
        Score, from 0 to 1, from which on the budget alerts; None if it allows no alert.
    net_benefit : float or None
        With ``--costs``: of the alerts, in whole units of its currency.
    """

    name: str
    what: str
    file: str
    sha256: Sha256
    trees: int
    candidate: str | None
    select_auprc: float | None
    case_recall: Bounds
    case_value_recall: Bounds | None
    auprc: Bounds
    threshold: float | None
    net_benefit: float | None = None


class Held(Answer):
    """A model held against the bank's own.

    Attributes
    ----------
    model, against : str
    verdict : Verdict
    confidence : float
        Of each bound.
    difference : Bounds
        Of case recall.
    value_difference : Bounds or None
    only_model, only_own : int
        Cases that one of the two finds alone.
    discordant_share : float
    cases_to_tell_apart, cases_to_adopt : int or None
        Cases that would tell a difference of this size from 0, and from the margin, four times in
        five.
    """

    model: str
    against: str
    verdict: Verdict
    confidence: float
    difference: Bounds
    value_difference: Bounds | None
    only_model: int
    only_own: int
    discordant_share: float
    cases_to_tell_apart: int | None
    cases_to_adopt: int | None


class HeldLimit(Answer):
    """A limit of ``gate.toml``, and whether the shared model holds it."""

    limit: str
    holds: bool
    reason: str
    shared: float | None
    own: float | None
    cases: int


class EarlierUse(Answer):
    """When payments of this judge window were judged by before.

    Attributes
    ----------
    run_id : str
    at : int
        UTC epoch seconds.
    """

    run_id: str
    at: int


class Evaluation(Answer):
    """``evaluate``.

    Attributes
    ----------
    run_id, name, bank : str
    kind : RunKind
    in_time : bool
        Whether the windows lie one after the other in time. Those of tables without times are
        shares of the same rows: they say less.
    windows : tuple of EvaluatedWindow
    windows_sha256 : str
        Of everything of their rows that a run can see. A reader could test guesses of rows with it.
    cases : int
        Of the judge window.
    days : int
    alerts : int
        Budget of the whole judge window.
    alerts_per_day : float or None
        None: one payment in 200.
    margin : float
    plan : str
        How the own models were made.
    models : tuple of EvaluatedModel
        The shared one first.
    own : str
        The own model that the others are held against: the better one on the select window.
    decision : Held
        Of the shared model.
    sentence : str
        The decision with its reasons.
    advice : tuple of str
    others : tuple of Held
        Further models against ``own``. The adapted ones share one error of 5 %.
    adapted_advised : str or None
        The adapted model that passed with the surest gain.
    left_out : dict of str to str
        By adapted model that was not made: why.
    readings : dict of Reading to Held
        The decision under the other ways to read what was blocked; empty if nothing was.
    limits : tuple of HeldLimit
    gate : bool
        Whether ``--gate`` was given: then the exit code tells of the decision.
    currency : str or None
        Of the net benefits.
    earlier_uses : tuple of EarlierUse
        Of payments of this judge window.
    warnings : tuple of str
    """

    version: Literal[1] = 1
    run_id: str
    name: str
    bank: BankName
    kind: RunKind
    in_time: bool
    windows: tuple[EvaluatedWindow, ...]
    windows_sha256: Sha256
    cases: int
    days: int
    alerts: int
    alerts_per_day: float | None
    margin: float
    plan: str
    models: tuple[EvaluatedModel, ...]
    own: str
    decision: Held
    sentence: str
    advice: tuple[str, ...]
    others: tuple[Held, ...]
    adapted_advised: str | None
    left_out: dict[str, str] = Field(default_factory=dict)
    readings: dict[Reading, Held] = Field(default_factory=dict)
    limits: tuple[HeldLimit, ...]
    gate: bool
    currency: str | None
    earlier_uses: tuple[EarlierUse, ...]
    warnings: tuple[str, ...]
