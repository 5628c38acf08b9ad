"""Where the time of an encrypted training went, as a plot: same figures, same bytes."""

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: In the order in which they are stacked: work first, then what a bank waits for. The colours are
#: Okabe and Ito's, which people with any colour vision can tell apart.
PHASE_COLOURS: Mapping[str, str] = {
    "rows": "#999999",
    "cuts": "#f0e442",
    "histogram": "#e69f00",
    "encrypt": "#0072b2",
    "open": "#56b4e9",
    "sum": "#d55e00",
    "wait": "#cc79a7",
    "accept": "#009e73",
}
_OTHER = "#000000"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.hashsalt": "fraudfed",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def draw_phases(figures: Mapping[str, Any]) -> str:
    """Draw the JSON of ``fraudfed bench train``: per bank a bar of wall and one of CPU seconds.

    Returns
    -------
    str
        An SVG document.
    """
    bars: list[tuple[str, Mapping[str, float]]] = []
    for bank in figures["banks"]:
        bars.append((f"{bank['name']} wall", bank["wall_seconds"]))
        bars.append((f"{bank['name']} CPU", bank["cpu_seconds"]))
    measured = {name for _, seconds in bars for name in seconds}
    phases = [name for name in PHASE_COLOURS if name in measured]
    phases += sorted(measured.difference(PHASE_COLOURS))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.4 + 0.32 * (len(bars) + 1)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        starts = [0.0] * len(bars)
        for phase in phases:
            widths = [seconds.get(phase, 0.0) for _, seconds in bars]
            axes.barh(
                range(len(bars)),
                widths,
                left=starts,
                height=0.72,
                color=PHASE_COLOURS.get(phase, _OTHER),
                label=phase,
            )
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        aggregator = len(bars)
        axes.barh(aggregator, figures["aggregator_cpu_seconds"], height=0.72, color="#bbbbbb")
        axes.axvline(figures["reference"]["seconds"], color="black", linestyle=":", linewidth=1.2)
        axes.text(
            figures["reference"]["seconds"],
            -0.75,
            " pooled xgboost",
            va="center",
            fontsize=8,
        )
        axes.set_ylim(-1.1, aggregator + 0.6)
        axes.set_yticks(range(aggregator + 1), [*(name for name, _ in bars), "aggregator CPU"])
        axes.set_xlabel(
            f"seconds ({figures['case']['rows']:,} rows, {figures['trees']} trees, "
            f"{figures['case']['key_bits']}-bit Paillier)"
        )
        axes.grid(axis="x", linewidth=0.5, color="#dddddd")
        axes.tick_params(length=0)
        axes.invert_yaxis()
        figure.legend(loc="outside upper center", ncols=len(phases), frameon=False, fontsize=8)
        return svg_of(figure)


def svg_of(figure: Figure) -> str:
    """Return a figure as SVG, to be called within its ``rc_context``.

    Nothing of the run but its numbers goes in: no date, no version of matplotlib.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None})
    return re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
