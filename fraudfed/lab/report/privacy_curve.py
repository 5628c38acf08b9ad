"""What a bound costs, as a plot and as a section of a report: same figures, same bytes."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from fraudfed.errors import DataError

#: Okabe and Ito's colours, which people with any colour vision can tell apart.
_COLOURS: Mapping[str, str] = {
    "cyclic": "#0072b2",
    "histograms": "#d55e00",
    "random-splits": "#009e73",
    "exact": "#000000",
}
_OWN = {False: "#999999", True: "#cc79a7"}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.hashsalt": "fraudfed",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
#: A figure of all rows, the same as the banks' mean, and its name.
_PANELS = (
    ("auprc", "bank_auprc", "AUPRC"),
    ("case_recall", "bank_case_recall", "cases found, 1 alert per 200 payments"),
)


def read_curve(file: Path) -> dict[str, Any]:
    """Return what ``fraudfed privacy curve`` has written to ``curve.json``.

    Raises
    ------
    DataError
        If it is something else.
    """
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        curve_section(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file}: is no curve of `fraudfed privacy curve`; give the curve.json that it has "
            "written"
        ) from error
    return found


def curve_plot(figures: Mapping[str, Any]) -> str:
    """Draw AUPRC and case recall over epsilon, from the JSON of ``fraudfed privacy curve``.

    Bars are the lowest and the highest repeat, bands what the rows that judge leave open. Where
    banks have trained alone, all lines are means of the banks, else they are of all rows together.

    Parameters
    ----------
    figures : mapping

    Returns
    -------
    str
        An SVG document.
    """
    points: Sequence[Mapping[str, Any]] = figures["points"]
    own: Sequence[Mapping[str, Any]] = figures["own"]
    bounds = sorted({point["epsilon"] for point in points if point["epsilon"] is not None})
    places = {epsilon: index for index, epsilon in enumerate(bounds)}
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 3.2), layout="constrained")
        FigureCanvasSVG(figure)
        for axes, (whole, of_banks, title) in zip(figure.subplots(1, 2), _PANELS, strict=True):
            _draw(axes, points, own, places, whole=whole, of_banks=of_banks)
            axes.set_xticks(range(len(bounds) + 1), [*(f"{bound:g}" for bound in bounds), "none"])
            axes.set_xlabel("epsilon")
            axes.set_title(title, fontsize=9.0)
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", linewidth=0.5, color="#dddddd")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None}
        )
    # Nothing of the run but its numbers goes in: no date, no version of matplotlib.
    return re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)


def curve_section(figures: Mapping[str, Any]) -> Markup:
    """Return the section of a report: the plot, and the table that it is drawn from.

    Parameters
    ----------
    figures : mapping
        The JSON of ``fraudfed privacy curve``.
    """
    svg = curve_plot(figures)
    head = (
        *("model", "epsilon", "AUPRC", "kept", "cases found"),
        *("AUPRC, mean of banks", "cases found, mean of banks", "adopt / keep / undecided"),
    )
    rows = [_row(point) for point in figures["points"]]
    rows += [
        (
            "own + shared risk" if point["shared_risk"] else "own",
            *("-",) * 4,
            f"{point['bank_auprc']:.3f}",
            f"{point['bank_case_recall']:.3f}",
            "-",
        )
        for point in figures["own"]
    ]
    cells = Markup("").join(
        Markup("<tr><th>{}</th>{}</tr>\n").format(
            row[0], Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row[1:])
        )
        for row in rows
    )
    titles = Markup("").join(Markup("<th>{}</th>").format(title) for title in head)
    label = "AUPRC and share of cases found over epsilon, by way of training"
    # The plot is matplotlib's own output, which escapes every text it is given.
    drawn = Markup(  # noqa: S704
        svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    )
    return Markup(
        '<h2 id="privacy">What differential privacy costs</h2>\n'
        "<p>{} training rows of {} banks with {} frauds, delta {}. A bound of epsilon holds for "
        "one unit over the whole training; a smaller one protects better. Bars are the lowest and "
        "the highest of repeats with fresh noise.</p>\n"
        "<figure>{}</figure>\n"
        '<div class="wide"><table><thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n'
    ).format(
        f"{figures['rows']:,}",
        figures["banks"],
        f"{figures['frauds']:,}",
        f"{figures['case']['delta']:g}",
        drawn,
        titles,
        cells,
    )


def curve_page(figures: Mapping[str, Any]) -> str:
    """Return the section as a page of its own, which needs nothing but itself."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\"><title>What differential privacy costs</title><style>"
        "body{font:16px/1.5 system-ui,sans-serif;max-width:66rem;margin:0 auto;padding:1rem}"
        "table{border-collapse:collapse}th,td{padding:.3rem .6rem;text-align:right}"
        "svg{width:100%;height:auto;max-width:50rem;background:#fff}.wide{overflow-x:auto}"
        f"</style></head><body>\n{curve_section(figures)}</body></html>\n"
    )


def _draw(
    axes: Axes,
    points: Sequence[Mapping[str, Any]],
    own: Sequence[Mapping[str, Any]],
    places: Mapping[float, int],
    *,
    whole: str,
    of_banks: str,
) -> None:
    by_banks = bool(own)
    last = len(places)
    for model, colour in _COLOURS.items():
        mine = [point for point in points if point["model"] == model]
        if not mine:
            continue
        if model == "exact":
            value = mine[0][of_banks] if by_banks else mine[0][whole]["mean"]
            axes.axhline(value, color=colour, linestyle=":", linewidth=1.0, label="exact, all rows")
            continue
        drawn = sorted(
            (last if point["epsilon"] is None else places[point["epsilon"]], index)
            for index, point in enumerate(mine)
        )
        x = [place for place, _ in drawn]
        bands = [mine[index][whole] for _, index in drawn]
        middle = [
            mine[index][of_banks] if by_banks else mine[index][whole]["mean"] for _, index in drawn
        ]
        shifts = [value - band["mean"] for value, band in zip(middle, bands, strict=True)]
        below = [max(band["mean"] - band["lowest"], 0.0) for band in bands]
        above = [max(band["highest"] - band["mean"], 0.0) for band in bands]
        axes.errorbar(
            x,
            middle,
            yerr=[below, above],
            color=colour,
            label=model,
            marker="o",
            markersize=3,
            linewidth=1.4,
            capsize=2,
        )
        axes.fill_between(
            x,
            [shift + band["rows_low"] for shift, band in zip(shifts, bands, strict=True)],
            [shift + band["rows_high"] for shift, band in zip(shifts, bands, strict=True)],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
    for point in own:
        axes.axhline(
            point[of_banks],
            color=_OWN[bool(point["shared_risk"])],
            linestyle="--",
            linewidth=1.2,
            label="own + shared risk" if point["shared_risk"] else "own",
        )


def _row(point: Mapping[str, Any]) -> tuple[str, ...]:
    gate = point["gate"]
    asked = gate["adopt"] + gate["keep"] + gate["undecided"] > 0
    return (
        str(point["model"]),
        "none" if point["epsilon"] is None else f"{point['epsilon']:g}",
        f"{point['auprc']['mean']:.3f}",
        "-" if point["kept"] is None else f"{100 * point['kept']:.0f} %",
        f"{point['case_recall']['mean']:.3f}",
        f"{point['bank_auprc']:.3f}",
        f"{point['bank_case_recall']:.3f}",
        f"{gate['adopt']} / {gate['keep']} / {gate['undecided']}" if asked else "-",
    )
