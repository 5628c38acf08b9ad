"""The figures of ``fraudfed attack poison``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.lab.attack.poison.measure import (
    DEFENDED_SHARE,
    NO_DEFENCE,
    NO_POISON,
    OWN,
    EvasionTrial,
    GateTrial,
    InfluenceTrial,
    Trial,
)
from fraudfed.lab.attack.poison.merchants import MerchantTrial

#: Student's t at 97.5 % for 1 to 9 degrees of freedom, beyond that the normal value.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


@dataclass(frozen=True)
class Mean:
    """Mean over worlds, and half of its 95 % interval; None with a single world."""

    mean: float
    half_width: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """Return the mean of one value for each world; Student's t interval."""
        found = np.asarray(values, dtype=np.float64)
        if found.size < 2:
            return cls(float(found.mean()), None)
        factor = _T[found.size - 2] if found.size - 2 < len(_T) else 1.96
        error = float(found.std(ddof=1)) / float(np.sqrt(found.size))
        return cls(float(found.mean()), factor * error)

    def text(self, *, percent: bool) -> str:
        """Return it for a table."""
        scale, digits = (100.0, 0) if percent else (1.0, 3)
        width = "" if self.half_width is None else f" +- {scale * self.half_width:.{digits}f}"
        return f"{scale * self.mean:.{digits}f}{width}" + (" %" if percent else "")


@dataclass(frozen=True)
class PoisonRow:
    """One threat at one share with one defence, over all worlds.

    Attributes
    ----------
    threat, defence : str
    share : float
    auprc, escaped, escaped_plain : Mean
    auprc_change, escaped_change : Mean
        From the same world without poison and without defence; the worlds' own noise cancels.
    """

    threat: str
    defence: str
    share: float
    auprc: Mean
    escaped: Mean
    escaped_plain: Mean
    auprc_change: Mean
    escaped_change: Mean

    def to_line(self) -> str:
        """Return a line of a table in Markdown."""
        return (
            f"| {self.share:.0%} | {self.threat} | {self.defence} "
            f"| {self.escaped.text(percent=True)} | {self.escaped_plain.text(percent=True)} "
            f"| {self.auprc.text(percent=False)} | {self.auprc_change.text(percent=False)} |"
        )


@dataclass(frozen=True)
class PoisonFigures:
    """``attack poison``.

    Attributes
    ----------
    worlds, seed, customers, trees : int
    rows : tuple of PoisonRow
    gates : tuple of GateTrial
    evasions : tuple of EvasionTrial
    influences : tuple of InfluenceTrial
    merchants : tuple of MerchantTrial
    """

    worlds: int
    seed: int
    customers: int
    trees: int
    rows: tuple[PoisonRow, ...]
    gates: tuple[GateTrial, ...]
    evasions: tuple[EvasionTrial, ...]
    influences: tuple[InfluenceTrial, ...]
    merchants: tuple[MerchantTrial, ...]

    def to_text(self) -> str:
        """Return a report for the terminal, as docs/attacks.md has it."""
        lines = [
            f"{self.worlds} worlds of 5 banks, {self.customers} customers, {self.trees} trees",
            "",
            "| rows of the lying bank | threat | defence | triggered frauds that escape | the same "
            "frauds without the trigger | AUPRC of the others | change of AUPRC |",
            "|--:|---|---|--:|--:|--:|--:|",
        ]
        lines += [row.to_line() for row in self.rows]
        lines += ["", f"At {DEFENDED_SHARE:.0%} of the rows, without defences:", ""]
        for threat in dict.fromkeys(trial.threat for trial in self.gates):
            lines.append(self._checks(threat))
        lines += ["", *(_merchant_lines(self.merchants) if self.merchants else [])]
        return "\n".join(lines).rstrip()

    def _checks(self, threat: str) -> str:
        gates = [trial for trial in self.gates if trial.threat == threat]
        adopt, keep, undecided = (
            sum(getattr(trial, name) for trial in gates) for name in ("adopt", "keep", "undecided")
        )
        looks = [trial for trial in self.evasions if trial.threat == threat]
        excess = [value for trial in looks for value in trial.excess]
        hits = sum(trial.found_trigger for trial in looks)
        ranks = [
            1 + sum(other > trial.gained[-1] for other in trial.gained[:-1])
            for trial in self.influences
            if trial.threat == threat
        ]
        most = f"{np.median(excess):.0%}" if excess else "-"
        return (
            f"* {threat}: gates say adopt {adopt}, keep {keep}, undecided {undecided}; largest "
            f"excess of a way to pay, median over banks {most}, at the trigger in {hits} of "
            f"{len(excess)}; influence of the lying bank ranks {', '.join(map(str, ranks))} of 5"
        )


def rows_of(trials: Sequence[Trial]) -> tuple[PoisonRow, ...]:
    """Put the trials of all worlds into rows, in the order of the first world."""
    reference = {
        (trial.seed, trial.share): trial
        for trial in trials
        if trial.threat == NO_POISON and trial.defence == NO_DEFENCE
    }
    found = []
    for key in dict.fromkeys((t.share, t.threat, t.defence) for t in trials):
        of_key = [t for t in trials if (t.share, t.threat, t.defence) == key]
        share, threat, defence = key
        compared = [
            (t, reference[t.seed, t.share if threat != OWN else min(s for _, s in reference)])
            for t in of_key
        ]
        found.append(
            PoisonRow(
                threat=threat,
                defence=defence,
                share=share,
                auprc=Mean.of([t.auprc for t in of_key]),
                escaped=Mean.of([t.escaped for t in of_key]),
                escaped_plain=Mean.of([t.escaped_plain for t in of_key]),
                auprc_change=Mean.of([t.auprc - before.auprc for t, before in compared]),
                escaped_change=Mean.of([t.escaped - before.escaped for t, before in compared]),
            )
        )
    return tuple(found)


def _merchant_lines(trials: Sequence[MerchantTrial]) -> list[str]:
    lines = [
        "| rows of the lying bank | made-up payments a day | shared fraud rate at the merchant "
        "| frauds there that escape | rate of the clean competitor |",
        "|--:|--:|--:|--:|--:|",
    ]
    for place in range(len([t for t in trials if t.seed == trials[0].seed])):
        alike = [
            [t for t in trials if t.seed == seed][place]
            for seed in dict.fromkeys(t.seed for t in trials)
        ]
        lines.append(
            f"| {alike[0].share:.0%} | {np.mean([t.per_day for t in alike]):.0f} "
            f"| {Mean.of([t.rate for t in alike]).text(percent=False)} "
            f"| {Mean.of([t.escaped for t in alike]).text(percent=True)} "
            f"| {Mean.of([t.clean_rate for t in alike]).text(percent=False)} |"
        )
    return lines
