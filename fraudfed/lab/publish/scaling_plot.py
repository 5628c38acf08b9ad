"""How a training grows with rows, as a plot on logarithmic axes: same figures, same bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from fraudfed.lab.bench.scale.result import CRYPTO_PHASES
from fraudfed.lab.publish.phases import STYLE, svg_of

#: Okabe and Ito's colours, which people with any colour vision can tell apart.
_OURS, _POOLED, _CRYPTO, _ROWS = "#d55e00", "#000000", "#0072b2", "#e69f00"
_LIMIT_GIB = 4.0


def draw_scaling(sizes: Sequence[Mapping[str, Any]]) -> str:
    """Draw time and memory over rows, from the ``sizes`` of ``fraudfed bench scale``.

    Returns
    -------
    str
        An SVG document.
    """
    rows = [size["rows"] for size in sizes]
    largest = [size["banks"][0]["cpu_seconds"] for size in sizes]
    crypto = [sum(each.get(phase, 0.0) for phase in CRYPTO_PHASES) for each in largest]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        time, memory = figure.subplots(1, 2)
        for values, colour, name in (
            ([size["encrypted_seconds"] for size in sizes], _OURS, "encrypted training"),
            ([size["pooled"][0]["train_seconds"] for size in sizes], _POOLED, "pooled XGBoost"),
            (crypto, _CRYPTO, "encryption, CPU of the largest bank"),
            ([each["histogram"] for each in largest], _ROWS, "histograms, CPU of the largest bank"),
        ):
            time.loglog(rows, values, color=colour, marker="o", markersize=4, label=name)
        time.set_xlabel("rows of all banks")
        time.set_ylabel("seconds")
        time.legend(frameon=False, fontsize=7)
        for values, colour, name in (
            (
                [max(bank["peak_memory_bytes"] for bank in size["banks"]) for size in sizes],
                _OURS,
                "a bank's program, the largest",
            ),
            ([size["aggregator_peak_memory_bytes"] for size in sizes], _CRYPTO, "aggregator"),
            ([size["pooled"][0]["peak_memory_bytes"] for size in sizes], _POOLED, "pooled XGBoost"),
        ):
            gib = [value / 2**30 for value in values]
            memory.loglog(rows, gib, color=colour, marker="o", markersize=4, label=name)
        memory.axhline(_LIMIT_GIB, color="black", linestyle=":", linewidth=1.0)
        memory.set_xlabel("rows of all banks")
        memory.set_ylabel("GiB, at most")
        memory.legend(frameon=False, fontsize=7, loc="center right")
        for axes in (time, memory):
            axes.grid(linewidth=0.5, color="#dddddd")
        return svg_of(figure)
