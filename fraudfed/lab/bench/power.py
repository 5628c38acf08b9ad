"""With which probability a bank's gate decides right, by its cases: ``fraudfed bench power``."""

from dataclasses import dataclass

import click

from fraudfed.gate.decision import CONFIDENCE, DEFAULT_MARGIN
from fraudfed.gate.power import chances
from fraudfed.lab.bench.options import FiniteRange, figures_of

_CASES = (50, 100, 200, 500, 1000, 2000)
_DIFFERENCES = (-0.05, -0.02, 0.0, 0.02, 0.05, 0.1)
_SHARE = 0.15


@dataclass(frozen=True)
class PowerRow:
    """One truth, and what the gate says of it.

    Attributes
    ----------
    cases : int
    difference : float
        True case recall of the shared model less that of the own one.
    discordant_share : float
        Share of cases that one of the two finds alone.
    adopt, keep, undecided : float
        Probabilities.
    """

    cases: int
    difference: float
    discordant_share: float
    adopt: float
    keep: float
    undecided: float


@dataclass(frozen=True)
class PowerFigures:
    """The gate's chances.

    Attributes
    ----------
    margin, confidence : float
    rows : tuple of PowerRow
    """

    margin: float
    confidence: float
    rows: tuple[PowerRow, ...]

    def to_text(self) -> str:
        """Return a table in Markdown: one line a difference, and adopt / keep / undecided."""
        cases = sorted({row.cases for row in self.rows})
        lines = [
            "| true difference | " + " | ".join(f"{n} cases" for n in cases) + " |",
            "|---|" + "---|" * len(cases),
        ]
        for difference in sorted({row.difference for row in self.rows}):
            cells = [
                f"{row.adopt:.0%} / {row.keep:.0%} / {row.undecided:.0%}"
                for row in sorted(self.rows, key=lambda row: row.cases)
                if row.difference == difference
            ]
            lines.append(f"| {difference:+.2f} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


@click.command("power")
@click.option(
    "--cases",
    type=click.IntRange(1, 20_000),
    multiple=True,
    default=_CASES,
    help="Cases of a judge window; repeatable.  [default: 50 to 2000]",
)
@click.option(
    "--difference",
    type=FiniteRange(-1.0, 1.0),
    multiple=True,
    default=_DIFFERENCES,
    help="True difference of case recall; repeatable.  [default: -0.05 to 0.1]",
)
@click.option(
    "--discordant-share",
    type=FiniteRange(0.0, 1.0),
    default=_SHARE,
    show_default=True,
    help="Share of cases that one of the two models finds alone; at least the difference.",
)
@click.option(
    "--margin",
    type=FiniteRange(0.0, 0.5),
    default=DEFAULT_MARGIN,
    show_default=True,
    help="Of case recall, that the shared model may lack at most.",
)
@figures_of(PowerFigures)
def power_command(
    cases: tuple[int, ...],
    difference: tuple[float, ...],
    discordant_share: float,
    margin: float,
) -> PowerFigures:
    """Compute how often a bank's gate adopts, keeps or stays undecided, by the truth."""
    if max(map(abs, difference)) > discordant_share:
        raise click.BadParameter(
            f"{discordant_share:g} is less than a difference, which is made of discordant cases",
            param_hint="--discordant-share",
        )
    rows = []
    for number in cases:
        for each in difference:
            found = chances(
                n_cases=number, difference=each, discordant_share=discordant_share, margin=margin
            )
            rows.append(PowerRow(number, each, discordant_share, **vars(found)))
    return PowerFigures(margin, CONFIDENCE, tuple(rows))
