"""A demo run's results, bank by bank: what the bank had alone, and what sharing adds to it.

Two things can be shared, the model and the counts of fraud at terminals, merchants and payees
(shared risk); a run compares the models with and without each, and with one that saw everything.

``DemoSummary`` is what ``summary.json`` holds and what the report and the terminal table show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.markup import escape
from rich.table import Table

from fraudfed.evaluation.metrics import auc, auprc, recall_at_fpr
from fraudfed.foreign_text import visible
from fraudfed.lab.report.alerts import AlertPoint
from fraudfed.lab.report.facts import Choice, Interval, SearchFacts, WindowFacts
from fraudfed.lab.report.gate import GateAnswer
from fraudfed.lab.report.judged import JudgedFacts
from fraudfed.lab.report.mules import MuleFacts

#: Characters of a bank's title that people are shown.
_TITLE_CHARACTERS = 40

#: Every model that can be compared, in the order of the columns, with what to call it. A run whose
#: rows name no terminals, merchants and payees has none of those with shared risk.
MODELS: Mapping[str, str] = {
    "local": "own",
    "local_shared": "own + risk",
    "federated": "federated",
    "federated_shared": "federated + risk",
    "pooled": "pooled",
}


@dataclass(frozen=True)
class ModelScores:
    """How one model did on one bank's test rows; None where it cannot be measured.

    Attributes
    ----------
    auprc : float or None
        Average precision.
    auc : float or None
        Area under the ROC curve.
    recall_at_1pct_fpr : float or None
        Share of frauds caught while at most 1 % of clean transactions are flagged.
    auprc_interval : Interval or None
        95 %, by bootstrap over cases of fraud and days; None where it was not computed.
    """

    auprc: float | None
    auc: float | None
    recall_at_1pct_fpr: float | None
    auprc_interval: Interval | None = None


@dataclass(frozen=True)
class BankResult:
    """One bank's rows and how the models did on those that judge.

    Attributes
    ----------
    name : str
    rows_train, rows_test : int
        Rows with a label that are trained on, and that judge.
    prevalence : float
        Share of frauds among the rows that judge: the AUPRC of guessing.
    models : mapping of str to ModelScores
        By names of ``MODELS``: ``local``, the model the bank trained alone (all None if it had only
        one class to train on); ``federated``, the one the banks trained together over encrypted
        sums; either ``_shared``, with features of shared risk; ``pooled``, the one on everybody's
        rows in one table, which only a demo may make.
    title : str
        What the bank is called in the data, where its name is made of that; else its name.
    windows : mapping of str to WindowFacts
        What the bank holds of each window.
    chosen : mapping of str to Choice
        By model: what the bank chose for its own ones.
    gain_interval : Interval or None
        95 %, of ``gain``: both models on the same resamples.
    gate : GateAnswer or None
        None where the gate cannot be asked.
    """

    name: str
    rows_train: int
    rows_test: int
    prevalence: float
    models: Mapping[str, ModelScores]
    title: str = ""
    windows: Mapping[str, WindowFacts] = field(default_factory=dict)
    chosen: Mapping[str, Choice] = field(default_factory=dict)
    gain_interval: Interval | None = None
    gate: GateAnswer | None = None

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name)
        unknown = sorted(self.models.keys() - MODELS.keys())
        if unknown or not {"local", "federated"} <= self.models.keys():
            raise ValueError(
                f"models are {', '.join(self.models)}, expected local, federated and others of "
                f"{', '.join(MODELS)}"
            )

    @property
    def shown(self) -> str:
        """The title as people are shown it: on one line, and not long.

        Long titles may begin alike, and have the name behind them.
        """
        if len(self.title) <= _TITLE_CHARACTERS:
            return visible(self.title)
        return f"{visible(self.title[:_TITLE_CHARACTERS])}… ({self.name})"

    @property
    def best_shared(self) -> str:
        """Name of the model with all that is shared."""
        return "federated_shared" if "federated_shared" in self.models else "federated"

    @property
    def gain(self) -> float | None:
        """AUPRC with all that is shared minus that of the bank's own model."""
        own, shared = self.models["local"].auprc, self.models[self.best_shared].auprc
        return None if own is None or shared is None else shared - own


@dataclass(frozen=True)
class Difference:
    """How much more one model reaches than another, in the mean over the banks.

    Attributes
    ----------
    model, other : str
        Names of ``MODELS``.
    auprc : float
        Mean AUPRC of ``model`` less that of ``other``, over the banks where both are known.
    interval : Interval
        95 %, both models on the same resamples of every bank's rows.
    """

    model: str
    other: str
    auprc: float
    interval: Interval


@dataclass(frozen=True)
class RiskFacts:
    """What sharing risk took, all banks together.

    Attributes
    ----------
    days : int
        Days whose tables were summed.
    ciphertexts, bytes_sent, rounds : int
    seconds : float
        Wall time of the run.
    sha256 : str
        Of the tables, the same at every bank; hex.
    min_customers : int
        Customers of its own that a bank needs at an entity before it counts payments there.
    """

    days: int
    ciphertexts: int
    bytes_sent: int
    rounds: int
    seconds: float
    sha256: str
    min_customers: int


@dataclass(frozen=True)
class DemoSummary:
    """Everything a demo run reports.

    Attributes
    ----------
    banks : tuple of BankResult
    key_bits : int
        Bits of the Paillier modulus.
    key_fingerprint : str
        SHA-256 of the public key, hex.
    kernel : str
        Name of the big-integer kernel.
    rounds, rounds_verified : int
        Secure sums of the run, and those whose count and tag every bank found right.
    ciphertexts, bytes_sent : int
        All banks together.
    wall_seconds : mapping of str to float
        Training time by phase (histogram, encrypt, sum, open, wait, ...), mean over the banks.
    total_seconds : float
        Wall time of the whole demo.
    model_sha256 : str
        SHA-256 of ``model.json``, hex.
    trees : int
    parameters : mapping of str to plain values
        Of the model with all that is shared, under XGBoost's names.
    transactions, features : int
        Rows of all banks, whichever window they are in; feature columns.
    versions : mapping of str to str
        Program or library -> version.
    identical_trees_on_same_bins : int or None
        Trees equal to those of stock XGBoost on the same bins; None if that was not compared.
    verification : str
        What was compared, and what came of it: a sentence without a full stop.
    top_features : tuple of (str, float)
        Features by total gain in the federated model, largest first.
    stage_seconds : mapping of str to float
        Wall time of the demo's own stages (generate, train, evaluate, ...).
    data, split : str
        One sentence each: what was trained on, and how the windows were set apart.
    windows : mapping of str to WindowFacts
        What ``train``, ``select`` and ``judge`` hold at all banks together.
    label_horizon_days : int or None
        A payment is fraud if it was reported within so many days; None for rows without times.
    search : SearchFacts or None
        How parameters were chosen; None where they were given.
    chosen : mapping of str to Choice
        By model: with what those that all banks have in common were trained.
    mean_intervals : mapping of str to Interval
        By model: 95 %, of the mean AUPRC.
    differences : tuple of Difference
        Of the model with all that is shared to others.
    all_rows : mapping of str to ModelScores
        The models that all banks have in common, on the test rows of all banks as one table; a
        bank's own model has no part in it. May be empty.
    shared_risk : RiskFacts or None
        None where no risk was shared.
    mules : MuleFacts or None
        None unless payments that arrive were judged, and the truth is known.
    judged : JudgedFacts or None
        What the run itself says of the model with all that is shared.
    alerts : mapping of str to tuple of AlertPoint
        By model: what its alerts find, for growing budgets.
    """

    banks: tuple[BankResult, ...]
    key_bits: int
    key_fingerprint: str
    kernel: str
    rounds: int
    ciphertexts: int
    bytes_sent: int
    wall_seconds: Mapping[str, float]
    total_seconds: float
    model_sha256: str
    trees: int
    parameters: Mapping[str, Any]
    transactions: int
    features: int
    versions: Mapping[str, str]
    identical_trees_on_same_bins: int | None = None
    verification: str = ""
    top_features: tuple[tuple[str, float], ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    split: str = ""
    windows: Mapping[str, WindowFacts] = field(default_factory=dict)
    label_horizon_days: int | None = None
    search: SearchFacts | None = None
    chosen: Mapping[str, Choice] = field(default_factory=dict)
    mean_intervals: Mapping[str, Interval] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    all_rows: Mapping[str, ModelScores] = field(default_factory=dict)
    rounds_verified: int = 0
    shared_risk: RiskFacts | None = None
    mules: MuleFacts | None = None
    judged: JudgedFacts | None = None
    alerts: Mapping[str, tuple[AlertPoint, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({tuple(bank.models) for bank in self.banks}) != 1:
            raise ValueError("banks compare different models, expected the same at every bank")

    @property
    def models(self) -> Mapping[str, str]:
        """The models compared, in the order of the columns, with what to call them."""
        return {name: title for name, title in MODELS.items() if name in self.banks[0].models}

    @property
    def best_shared(self) -> str:
        """Name of the model with all that is shared."""
        return self.banks[0].best_shared

    def mean(self, model: str) -> ModelScores:
        """Return the unweighted mean over the banks for one of ``models``.

        Each metric is averaged over the banks where it is known for *every* model, so that the
        means of two models are always over the same banks.
        """
        metrics = ("auprc", "auc", "recall_at_1pct_fpr")
        return ModelScores(
            **{metric: self._mean(model, metric) for metric in metrics},
            auprc_interval=self.mean_intervals.get(model),
        )

    def _mean(self, model: str, metric: str) -> float | None:
        measured = [
            getattr(bank.models[model], metric)
            for bank in self.banks
            if all(getattr(scores, metric) is not None for scores in bank.models.values())
        ]
        return float(np.mean(measured)) if measured else None

    @property
    def mean_gain(self) -> float | None:
        """Mean AUPRC with all that is shared minus that of the banks' own models."""
        own, shared = self.mean("local").auprc, self.mean(self.best_shared).auprc
        return None if own is None or shared is None else shared - own

    @property
    def gain_interval(self) -> Interval | None:
        """Where ``mean_gain`` lies; None where that was not computed."""
        return next(
            (
                found.interval
                for found in self.differences
                if (found.model, found.other) == (self.best_shared, "local")
            ),
            None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``json.dumps(..., allow_nan=False)``: ``summary.json``."""
        plain = asdict(self)
        total = plain.pop("total_seconds")
        plain["wall_seconds"] = {**self.wall_seconds, "total": total}
        plain["mean"] = {model: asdict(self.mean(model)) for model in self.models}
        plain["parameters"] = dict(self.parameters)
        plain["top_features"] = [
            {"name": name, "total_gain": gain} for name, gain in self.top_features
        ]
        plain["banks"] = [
            {**{name: value for name, value in bank.items() if name != "models"}, **bank["models"]}
            for bank in plain["banks"]
        ]
        plain["all_rows"] = {model: asdict(found) for model, found in self.all_rows.items()}
        return plain


def score_model(
    scores: npt.NDArray[np.floating], labels: npt.NDArray[np.floating | np.integer]
) -> ModelScores:
    """Measure one model on one bank's test rows.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Higher is more suspicious.
    labels : ndarray of shape (n_rows,)
        0 or 1. If only one class is there, every metric is None.
    """
    return ModelScores(
        auprc=auprc(scores, labels),
        auc=auc(scores, labels),
        recall_at_1pct_fpr=recall_at_fpr(scores, labels, max_fpr=0.01),
    )


def format_number(value: float | None, *, signed: bool = False) -> str:
    """Return three decimals, or a dash for what could not be measured."""
    if value is None:
        return "-"
    # Adding 0.0 after rounding keeps "-0.000" out.
    return f"{round(value, 3) + 0.0:{'+' if signed else ''}.3f}"


def format_table(summary: DemoSummary) -> Table:
    """Return the result as a table for the terminal."""
    # Without rules between columns, so that ten of them fit into 80 characters.
    table = Table(title=_title(summary), box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("bank", overflow="fold")
    for heading in ("rows", "fraud"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in (*summary.models.values(), "gain"):
        # "federated + risk" takes two lines where the terminal is narrow; numbers never do.
        table.add_column(heading.replace(" + ", "\n+ "), justify="right")
    for bank in summary.banks:
        table.add_row(
            escape(bank.shown),
            _thousands(bank.rows_train + bank.rows_test),
            f"{bank.prevalence:.2%}",
            *_auprcs([bank.models[model] for model in summary.models]),
            format_number(bank.gain, signed=True),
        )
    table.add_section()
    table.add_row(
        "mean",
        "",
        "",
        *_auprcs([summary.mean(model) for model in summary.models]),
        format_number(summary.mean_gain, signed=True),
        style="bold",
    )
    if summary.all_rows:
        together = [summary.all_rows.get(model) for model in summary.models]
        table.add_row(
            "all rows",
            _thousands(sum(bank.rows_train + bank.rows_test for bank in summary.banks)),
            "",
            *(format_number(None if found is None else found.auprc) for found in together),
            "",
        )
    return table


def _thousands(count: int) -> str:
    """Return a number of rows in as few characters as the table has room for."""
    return f"{count:,}" if count < 10_000 else f"{count / 1000:,.0f}k"


def _auprcs(scores: Sequence[ModelScores]) -> list[str]:
    return [_with_interval(score.auprc, score.auprc_interval) for score in scores]


def _with_interval(value: float | None, interval: Interval | None) -> str:
    """Return a number, and on a second line where it lies."""
    number = format_number(value)
    if value is None or interval is None:
        return number
    return f"{number}\n[dim not bold]{_short(interval)}[/]"


def _short(interval: Interval) -> str:
    """Return both ends in as few characters as a table has room for: ``.52-.61``."""
    return "-".join(f"{end:.2f}".removeprefix("0") for end in (interval.lower, interval.upper))


def difference_lines(summary: DemoSummary) -> list[str]:
    """Say how far the model with all that is shared lies from the others, a line each."""
    return [
        f"{MODELS[found.model]} minus {MODELS[found.other]}: "
        f"{format_number(found.auprc, signed=True)} "
        f"(95 %: {format_number(found.interval.lower, signed=True)} to "
        f"{format_number(found.interval.upper, signed=True)})"
        for found in summary.differences
    ]


def _title(summary: DemoSummary) -> str:
    judge = summary.windows.get("judge")
    if judge is None:
        return "AUPRC on the rows of each bank that judge, by model"
    if judge.first_day is None:
        return "AUPRC on a fifth of each bank's rows at random, by model"
    return f"AUPRC on payments of {judge.first_day} to {judge.last_day}, by model"
