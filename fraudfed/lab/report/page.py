"""The report of a demo run: one HTML page that needs nothing but itself.

No script, no font, no image and no style sheet is fetched; the plots are inline SVG. The same
summary gives the same bytes.
"""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fraudfed.evaluation.metrics import PrecisionRecallCurve, precision_recall_curve
from fraudfed.evaluation.score_histogram import Bounded
from fraudfed.lab.report.compare import DemoSummary, format_number
from fraudfed.lab.report.facts import Interval
from fraudfed.lab.report.mules import mule_rows
from fraudfed.lab.report.plots import (
    alert_budget,
    auprc_bars,
    bars,
    precision_recall,
    reliability,
    search_curves,
)
from fraudfed.lab.report.privacy_curve import curve_section

_TEMPLATE = "report.html.j2"
#: Features shown; the long tail says little.
_TOP_FEATURES = 12


def headline(summary: DemoSummary) -> str:
    """Return the result in one sentence, whichever way it went."""
    gain = summary.mean_gain
    count = len(summary.banks)
    if gain is None:
        return f"{count} banks trained one model; the test rows do not allow a comparison"
    own, shared = summary.mean("local").auprc, summary.mean(summary.best_shared).auprc
    change = f"mean AUPRC {format_number(own)} → {format_number(shared)}"
    signed = format_number(gain, signed=True)
    interval = summary.gain_interval
    if interval is not None and interval.lower <= 0 <= interval.upper:
        return f"Sharing made no difference that these {count} banks can tell: {change} ({signed})"
    if round(gain, 3) > 0:
        also = " and shared risk" if summary.shared_risk is not None else ""
        return f"{count} banks trained one model{also} without showing a row: {change} ({signed})"
    return f"Sharing brought these {count} banks nothing: {change} ({signed})"


def render_report(
    summary: DemoSummary,
    *,
    curves: Mapping[str, Mapping[str, PrecisionRecallCurve]] | None = None,
    scores: Mapping[str, npt.NDArray[np.floating]] | None = None,
    labels: npt.NDArray[np.floating] | None = None,
    privacy_curve: Mapping[str, Any] | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    summary : DemoSummary
    curves : mapping of bank name to (mapping of model name to PrecisionRecallCurve)
        Banks and models that are left out are not drawn.
    scores : mapping of model name to ndarray of shape (n_rows,)
        Scores on the rows of all banks that judge, drawn as one more figure.
    labels : ndarray of shape (n_rows,)
        Labels of the same rows; given exactly if ``scores`` are.
    privacy_curve : mapping or None
        The JSON of ``fraudfed privacy curve``, for a section of its own.

    Returns
    -------
    str
        An HTML document, UTF-8.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = format_number
    environment.filters["interval"] = format_interval
    environment.filters["share"] = format_share
    environment.filters["count"] = lambda value: f"{value:,}".replace(
        ",", "\N{NARROW NO-BREAK SPACE}"
    )
    environment.filters["bytes"] = format_bytes
    environment.filters["seconds"] = format_seconds
    source = resources.files("fraudfed.lab.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        summary=summary,
        headline=headline(summary),
        models=summary.models,
        means={model: summary.mean(model) for model in summary.models},
        bars=auprc_bars(summary.banks, summary.models),
        curves=[*_all_banks(scores, labels), *_curves(summary, curves or {})],
        phases=_phases(summary.wall_seconds, "phases", "Training time by phase, seconds"),
        stages=_phases(summary.stage_seconds, "stages", "Time of the demo's stages, seconds"),
        features=_features(summary),
        alerts=_alerts(summary),
        calibration=_calibration(summary),
        searched=_searched(summary),
        privacy=None if privacy_curve is None else curve_section(privacy_curve),
        mules=[] if summary.mules is None else mule_rows(summary.mules),
    )


def _alerts(summary: DemoSummary) -> list[tuple[str, Markup]]:
    """Return the curves of growing budgets; money where every row has an amount."""
    if not summary.alerts:
        return []
    found = [("Cases found", alert_budget(summary.alerts, money=False))]
    if all(one.saved is not None for points in summary.alerts.values() for one in points):
        found.append(("Money saved", alert_budget(summary.alerts, money=True)))
    return found


def _calibration(summary: DemoSummary) -> Markup | None:
    if summary.judged is None or not any(one.frauds for one in summary.judged.reliability):
        return None
    return reliability(summary.judged.reliability)


def _searched(summary: DemoSummary) -> Markup | None:
    if summary.judged is None or not any(one.points for one in summary.judged.curves):
        return None
    return search_curves(summary.judged.curves)


def _all_banks(
    scores: Mapping[str, npt.NDArray[np.floating]] | None,
    labels: npt.NDArray[np.floating] | None,
) -> list[tuple[str, Markup]]:
    if scores is None or labels is None:
        if scores is not None or labels is not None:
            raise ValueError("scores and labels must be given together")
        return []
    drawn = {model: precision_recall_curve(values, labels) for model, values in scores.items()}
    curves = {model: curve for model, curve in drawn.items() if curve is not None}
    if not curves:
        return []
    name = "all banks"
    prevalence = float(np.mean(labels))
    return [(name, precision_recall(name, curves, prevalence=prevalence, name="all"))]


def _curves(
    summary: DemoSummary, curves: Mapping[str, Mapping[str, PrecisionRecallCurve]]
) -> list[tuple[str, Markup]]:
    return [
        (
            bank.shown,
            precision_recall(
                bank.shown, curves[bank.name], prevalence=bank.prevalence, name=f"bank-{bank.name}"
            ),
        )
        for bank in summary.banks
        if curves.get(bank.name)
    ]


def _phases(seconds: Mapping[str, float], name: str, label: str) -> Markup | None:
    return bars(seconds, name=name, label=label, unit="s") if seconds else None


def _features(summary: DemoSummary) -> Markup | None:
    total = sum(gain for _, gain in summary.top_features)
    if total <= 0:
        return None
    shares = {name: 100 * gain / total for name, gain in summary.top_features[:_TOP_FEATURES]}
    return bars(shares, name="features", label="Share of gain by feature, percent", unit="%")


def format_interval(interval: Interval, signed: bool) -> str:
    """Return both ends with two decimals."""
    sign = "+" if signed else ""
    return " to ".join(f"{end:{sign}.2f}" for end in (interval.lower, interval.upper))


def format_share(value: Bounded | None, decimals: int = 2) -> str:
    """Return a share in per cent; both ends where they differ as they are written."""
    if value is None:
        return "-"
    low, middle, high = (
        f"{100 * each:.{decimals}f}" for each in (value.low, value.estimate, value.high)
    )
    return f"{middle} %" if low == high else f"{middle} % ({low} to {high})"


def format_bytes(count: int) -> str:
    """Return a size with a decimal unit."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def format_seconds(seconds: float) -> str:
    """Return a duration in seconds, or minutes and seconds."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
