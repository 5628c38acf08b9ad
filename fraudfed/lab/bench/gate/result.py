"""The figures of ``fraudfed bench gate``: how often the gate is wrong, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from fraudfed.gate.decision import Verdict
from fraudfed.lab.bench.gate.verdicts import Trial
from fraudfed.lab.bench.machine import Machine


@dataclass(frozen=True)
class GateErrors:
    """Errors among the trials with about so many cases.

    Attributes
    ----------
    cases : int
        That the gate was given, at least.
    trials : int
    adopt, keep, undecided : int
        Verdicts.
    false_adopt : float
        Share of trials that adopt a model which is worse by more than the margin.
    false_keep : float
        Share of trials that keep an own model which is worse.
    undecided_share : float
    mean_loss : float
        Mean case recall given away.
    power : float or None
        Share of *adopt* where the shared model is better by the margin or more; None if it never
        is.
    """

    cases: int
    trials: int
    adopt: int
    keep: int
    undecided: int
    false_adopt: float
    false_keep: float
    undecided_share: float
    mean_loss: float
    power: float | None


@dataclass(frozen=True)
class GateFigures:
    """``bench gate``.

    Attributes
    ----------
    worlds, banks : int
        Banks of all worlds that were tried.
    plan : str
    seed, further_frauds : int
    margin : float
    mean_truth : float
        Difference of case recall, shared less own, over banks.
    by_cases : tuple of GateErrors
    from_500 : GateErrors or None
        Of all trials with 500 cases or more.
    trials : tuple of Trial
    machine : Machine
    """

    worlds: int
    banks: int
    plan: str
    seed: int
    further_frauds: int
    margin: float
    mean_truth: float
    by_cases: tuple[GateErrors, ...]
    from_500: GateErrors | None
    trials: tuple[Trial, ...]
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal, as docs/value.md has it."""
        lines = [
            f"{self.worlds} worlds, {self.banks} banks, plan {self.plan}, margin {self.margin:g}, "
            f"at least {self.further_frauds:,} further frauds a world; true difference on average "
            f"{self.mean_truth:+.3f}",
            "",
            "| cases | trials | adopt | keep | undecided | false adopt | false keep | mean loss "
            "| adopts a better model |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        last = [] if self.from_500 is None else [self.from_500]
        for row in (*self.by_cases, *last):
            power = "-" if row.power is None else f"{100 * row.power:.0f} %"
            name = "500 and more" if row is self.from_500 else f"{row.cases}"
            lines.append(
                f"| {name} | {row.trials} | {row.adopt} | {row.keep} | {row.undecided} "
                f"({100 * row.undecided_share:.0f} %) | {100 * row.false_adopt:.1f} % "
                f"| {100 * row.false_keep:.1f} % | {row.mean_loss:.4f} | {power} |"
            )
        return "\n".join([*lines, "", *self.machine.to_lines()])


def errors_of(trials: Sequence[Trial], *, cases: int, margin: float) -> GateErrors:
    """Count the errors among trials; at least one."""
    count = len(trials)
    verdicts = [trial.verdict for trial in trials]
    better = [trial for trial in trials if trial.truth >= margin]
    found = sum(trial.verdict == Verdict.ADOPT for trial in better)
    undecided = verdicts.count(Verdict.UNDECIDED)
    return GateErrors(
        cases=cases,
        trials=count,
        adopt=verdicts.count(Verdict.ADOPT),
        keep=verdicts.count(Verdict.KEEP),
        undecided=undecided,
        false_adopt=sum(t.verdict == Verdict.ADOPT and t.truth < -margin for t in trials) / count,
        false_keep=sum(t.verdict == Verdict.KEEP and t.truth > 0 for t in trials) / count,
        undecided_share=undecided / count,
        mean_loss=sum(trial.loss for trial in trials) / count,
        power=found / len(better) if better else None,
    )
