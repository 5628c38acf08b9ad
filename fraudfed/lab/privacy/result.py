"""The figures of ``fraudfed privacy curve``, as JSON and as text."""

from dataclasses import dataclass

from fraudfed.lab.privacy.case import CurveCase
from fraudfed.lab.privacy.figures import Band, CurvePoint, OwnPoint


@dataclass(frozen=True)
class CurveFigures:
    """``privacy curve``.

    Attributes
    ----------
    rows, frauds : int
        Of all banks that train.
    judged_rows, judged_frauds : int
    banks : int
    features : int
        Of the consortium's model.
    note : str
        How time was cut into windows.
    points : tuple of CurvePoint
    own : tuple of OwnPoint
    case : CurveCase
    missing : tuple of str
        Trainings that are not done yet; asked for again, the curve goes on with them.
    """

    rows: int
    frauds: int
    judged_rows: int
    judged_frauds: int
    banks: int
    features: int
    note: str
    points: tuple[CurvePoint, ...]
    own: tuple[OwnPoint, ...]
    case: CurveCase
    missing: tuple[str, ...] = ()

    def to_text(self) -> str:
        """Return a report for the terminal, as docs/privacy.md has it."""
        lines = [
            f"{self.rows:,} training rows of {self.banks} banks, {self.frauds:,} frauds; "
            f"{self.judged_rows:,} rows judge, {self.judged_frauds:,} frauds; "
            f"{self.features} features, delta {self.case.delta:g}",
            self.note,
            "",
            *table_lines(self.points, self.own),
        ]
        if self.missing:
            lines += ["", f"{len(self.missing)} trainings are missing; run the command again"]
        return "\n".join(lines)


_HEAD = (
    *("model", "epsilon", "trees", "AUPRC (repeats)", "rows that judge", "kept"),
    *("case recall (repeats)", "AUPRC, mean of banks", "case recall, mean of banks"),
    *("adopt / keep / undecided", "worse adopted", "gain where adopted"),
)


def table_lines(points: tuple[CurvePoint, ...], own: tuple[OwnPoint, ...]) -> list[str]:
    """Return the table of a curve in Markdown."""
    rows = [_cells(point) for point in points]
    rows += [
        (
            *("own + shared risk" if point.shared_risk else "own", *("-",) * 6),
            *(f"{point.bank_auprc:.3f}", f"{point.bank_case_recall:.3f}", *("-",) * 3),
        )
        for point in own
    ]
    lines = [_HEAD, ("---",) * len(_HEAD), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cells(point: CurvePoint) -> tuple[str, ...]:
    gate, has_banks = point.gate, point.bank_auprc > 0
    asked = gate.adopt + gate.keep + gate.undecided > 0
    return (
        point.model,
        "none" if point.epsilon is None else f"{point.epsilon:g}",
        str(point.trees),
        _with_repeats(point.auprc, point.repeats),
        f"{point.auprc.rows_low:.3f} to {point.auprc.rows_high:.3f}",
        "-" if point.kept is None else f"{100 * point.kept:.0f} %",
        _with_repeats(point.case_recall, point.repeats),
        f"{point.bank_auprc:.3f}" if has_banks else "-",
        f"{point.bank_case_recall:.3f}" if has_banks else "-",
        f"{gate.adopt} / {gate.keep} / {gate.undecided}" if asked else "-",
        str(gate.adopted_worse) if asked else "-",
        "-" if gate.adopted_gain is None else f"{gate.adopted_gain:+.3f}",
    )


def _with_repeats(band: Band, repeats: int) -> str:
    if repeats == 1:
        return f"{band.mean:.3f}"
    return f"{band.mean:.3f} ({band.lowest:.3f} to {band.highest:.3f})"
