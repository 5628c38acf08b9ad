"""Plots of a demo run as inline SVG: same input, same bytes.

Colours are written as CSS variables and text as text, so that the page that holds the plot
decides on light or dark and on the typeface.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fraudfed.evaluation.metrics import PrecisionRecallCurve
from fraudfed.evaluation.score_histogram import ReliabilityBin
from fraudfed.lab.report.alerts import AlertPoint
from fraudfed.lab.report.compare import BankResult, format_number
from fraudfed.lab.report.judged import Curve

#: Colours that matplotlib draws with, and the CSS variable each of them becomes.
_INK = "#010203"
_GRID = "#040506"
_MODEL_COLOURS = {
    "local": "#070809",
    "local_shared": "#101112",
    "federated": "#0a0b0c",
    "federated_shared": "#131415",
    "pooled": "#0d0e0f",
}
_CSS = {
    _INK: "currentColor",
    _GRID: "var(--grid)",
    **{colour: f"var(--{model.replace('_', '-')})" for model, colour in _MODEL_COLOURS.items()},
}

#: Inches. Narrow, so that text stays readable when the page is as wide as a phone.
_WIDTH = 3.8
#: Characters of a name beside a bar.
_MAX_NAME = 30
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "svg.fonttype": "none",
    "svg.hashsalt": "fraudfed",
    "font.size": 9.0,
    "text.color": _INK,
    # A dollar sign in a column's name is a dollar sign.
    "text.parse_math": False,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}


def auprc_bars(banks: Sequence[BankResult], models: Mapping[str, str]) -> Markup:
    """Draw the AUPRC of each bank by model, and where it lies, banks from top to bottom.

    Parameters
    ----------
    banks : sequence of BankResult
    models : mapping of str to str
        Names of models, as in ``MODELS``, with what to call them; drawn in this order.
    """
    thickness = 0.28
    # Between the middles of two banks' bars: the bars, and half a bar of air.
    spacing = (len(models) + 0.5) * thickness

    def draw(axes: Axes) -> None:
        for offset, (model, title) in enumerate(models.items()):
            values = [bank.models[model].auprc for bank in banks]
            place = (offset - (len(models) - 1) / 2) * thickness
            middles = [row * spacing + place for row in range(len(banks))]
            axes.barh(
                middles,
                [value or 0.0 for value in values],
                height=thickness * 0.9,
                color=_MODEL_COLOURS[model],
                label=title,
            )
            for middle, value, bank in zip(middles, values, banks, strict=True):
                interval = bank.models[model].auprc_interval
                if value is not None and interval is not None:
                    axes.plot(
                        [interval.lower, interval.upper], [middle, middle], color=_INK, lw=0.7
                    )
                axes.text(
                    max(value or 0.0, interval.upper if interval is not None else 0.0) + 0.01,
                    middle,
                    format_number(value),
                    va="center",
                    fontsize=8,
                )
        ticks = [row * spacing for row in range(len(banks))]
        axes.set_yticks(ticks, [_shortened(bank.shown) for bank in banks])
        axes.set_xlim(0, 1.12)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
        axes.set_xlabel("AUPRC (1 is perfect)")
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.invert_yaxis()

    names = ", ".join(bank.shown for bank in banks)
    return _svg(
        draw,
        height=0.7 + 0.62 * spacing * max(len(banks), 1),
        name="auprc",
        label=f"Bar chart of AUPRC by model for {names}",
    )


def precision_recall(
    bank: str, curves: Mapping[str, PrecisionRecallCurve], *, prevalence: float, name: str
) -> Markup:
    """Draw precision against recall of one bank's test rows, one line per model.

    Parameters
    ----------
    bank : str
        As people are shown it.
    curves : mapping of model name, as in ``MODELS``, to PrecisionRecallCurve
    prevalence : float
        Precision of guessing, drawn as a dotted line.
    name : str
        Unique among the page's curves; part of the SVG's ids.
    """

    def draw(axes: Axes) -> None:
        for model, colour in _MODEL_COLOURS.items():
            if model in curves:
                curve = curves[model]
                axes.step(curve.recall, curve.precision, where="pre", color=colour, linewidth=1.4)
        axes.axhline(prevalence, color=_INK, linewidth=0.8, linestyle=":")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("recall: share of frauds caught")
        axes.set_ylabel("precision")
        axes.grid()
        axes.tick_params(length=0)

    return _svg(
        draw,
        height=2.9,
        name=f"pr-{name}",
        label=f"Precision-recall curves of {bank}: {', '.join(curves)}",
    )


def alert_budget(curves: Mapping[str, Sequence[AlertPoint]], *, money: bool) -> Markup:
    """Draw what alerts find against how many there are, one line per model.

    Parameters
    ----------
    curves : mapping of model name, as in ``MODELS``, to its points
        With times, alerts are counted a day, else by the share of rows.
    money : bool
        Draw what is saved, in whole units of the currency; else the share of cases found.
    """
    per_day = all(one.alerts_per_day is not None for points in curves.values() for one in points)

    def draw(axes: Axes) -> None:
        for model, colour in _MODEL_COLOURS.items():
            points = curves.get(model, ())
            axes.plot(
                [(one.alerts_per_day or 0.0) if per_day else 100 * one.share for one in points],
                [(one.saved or 0) / 100 if money else one.case_recall for one in points],
                color=colour,
                linewidth=1.4,
                marker="o",
                markersize=2.5,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("alerts a day, all banks" if per_day else "% of rows alerted on")
        axes.set_ylabel("money saved in the window" if money else "share of cases found")
        axes.set_ylim(bottom=0)
        if money:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid()
        axes.tick_params(length=0)

    what = "Money saved" if money else "Share of cases found"
    return _svg(
        draw,
        height=2.7,
        name="saved" if money else "cases",
        label=f"{what} by number of alerts: {', '.join(curves)}",
    )


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """Draw the observed against the predicted share of fraud, both on a logarithmic scale.

    Parameters
    ----------
    bins : sequence of ReliabilityBin
        Those without a fraud have no place on the scale and are left out.
    """
    shown = [one for one in bins if one.frauds and one.predicted.estimate > 0]

    def draw(axes: Axes) -> None:
        axes.plot([1e-5, 1], [1e-5, 1], color=_INK, linewidth=0.8, linestyle=":")
        axes.plot(
            [one.predicted.estimate for one in shown],
            [one.observed for one in shown],
            color=_MODEL_COLOURS["federated_shared"],
            linewidth=1.4,
            marker="o",
            markersize=3,
        )
        least = min((min(one.predicted.estimate, one.observed) for one in shown), default=1e-3)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.set_xlim(least / 2, 1.2)
        axes.set_ylim(least / 2, 1.2)
        axes.set_xlabel("predicted share of fraud")
        axes.set_ylabel("observed")
        axes.grid()
        axes.tick_params(length=0)

    label = "Observed against predicted share of fraud; the dotted line is perfect calibration"
    return _svg(draw, height=2.7, name="reliability", label=label)


def search_curves(curves: Sequence[Curve]) -> Markup:
    """Draw each candidate's metric against its trees; the winner stands out."""

    def draw(axes: Axes) -> None:
        for curve in sorted(curves, key=lambda one: one.is_winner):
            colour = _MODEL_COLOURS["federated_shared" if curve.is_winner else "local"]
            trees, values = zip(*curve.points, strict=True) if curve.points else ((), ())
            axes.plot(trees, values, color=colour, linewidth=1.6 if curve.is_winner else 0.9)
        axes.set_xlabel("trees")
        axes.set_ylabel("mean AUPRC of the banks")
        axes.grid()
        axes.tick_params(length=0)

    winner = next((one.name for one in curves if one.is_winner), "none")
    label = f"Curves of {len(curves)} candidates on the select window; chosen: {winner}"
    return _svg(draw, height=2.7, name="search", label=label)


def bars(
    values: Mapping[str, float], *, name: str, label: str, unit: str, decimals: int = 1
) -> Markup:
    """Draw one horizontal bar per entry, in the order given.

    Parameters
    ----------
    values : mapping of str to float
        Not negative.
    name : str
        Unique on the page; part of the SVG's ids.
    label : str
        What the chart shows, for those who cannot see it.
    unit : str
        Behind each number and under the axis.
    decimals : int
        Of each number.
    """
    largest = max(values.values(), default=0.0) or 1.0

    def draw(axes: Axes) -> None:
        axes.barh(
            range(len(values)),
            list(values.values()),
            height=0.62,
            color=_MODEL_COLOURS["federated"],
        )
        for row, value in enumerate(values.values()):
            axes.text(
                value + 0.015 * largest,
                row,
                f"{value:,.{decimals}f} {unit}".rstrip(),
                va="center",
                fontsize=8,
            )
        axes.set_yticks(range(len(values)), [_shortened(entry) for entry in values])
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(0, 1.3 * largest)
        axes.tick_params(length=0)
        axes.invert_yaxis()

    return _svg(draw, height=0.25 + 0.27 * max(len(values), 1), name=name, label=label)


def _shortened(name: str) -> str:
    """Return a name that leaves room for the bars: how it begins and how it ends."""
    if len(name) <= _MAX_NAME:
        return name
    end = _MAX_NAME // 2 - 1
    return f"{name[: _MAX_NAME - 1 - end]}…{name[-end:]}"


def _svg(draw: Callable[[Axes], None], *, height: float, name: str, label: str) -> Markup:
    """Return a figure as an ``<svg>`` element that is safe to put into a page as it is."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The page chooses the typeface: matplotlib's own need not have every letter.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        buffer = io.StringIO()
        # Nothing of the run but its numbers goes in: no date, no version of matplotlib.
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None}
        )
    return _inline(buffer.getvalue(), name=name, label=label)


def _inline(document: str, *, name: str, label: str) -> Markup:
    """Turn matplotlib's SVG document into an element of an HTML page."""
    text = document[document.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Without a size of its own the element takes the width that the page gives it.
    text = re.sub(r'(<svg[^>]*?) (?:width)="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) (?:height)="[^"]*"', r"\1", text, count=1)
    # Several figures share a page, and ids must not meet: two names never have one prefix.
    prefix = re.sub(r"[^a-z0-9-]", lambda found: f"_{ord(found[0]):x}_", name)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    for colour, css in _CSS.items():
        text = text.replace(colour, css)
    attributes = Markup('<svg role="img" aria-label="{}" ').format(label)
    # The rest is matplotlib's own output, which escapes every text it is given.
    return attributes + Markup(text.removeprefix("<svg "))  # noqa: S704
