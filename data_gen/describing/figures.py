"""How plots look and are saved: same numbers, same bytes, readable on light and dark pages."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from data_gen.rng import FloatArray

Plot = Callable[[Axes], None]

# Okabe and Ito's colours, safe for people with red-green colour blindness
# (https://jfly.uni-koeln.de/color/), and a grey.
COLOURS: Final = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F7F7F",
    "#B2A100",
)
# Columns of a matrix, or bars, that can be named side by side.
MOST_NAMED: Final = 12
_INK: Final = "#333333"
_GRID: Final = "#DDDDDD"
_SHADES: Final = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", COLOURS[0]])
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "data-gen",
    "text.color": _INK,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}


def save_svg(path: Path, *plots: Plot, width: float = 7.2, height: float = 3.0) -> None:
    """Draw plots side by side and write them as one SVG file.

    Parameters
    ----------
    path : Path
    *plots : callable
        Each draws into the axes that it is given.
    width, height : float
        Inches.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        for number, plot in enumerate(plots, start=1):
            axes = figure.add_subplot(1, len(plots), number)
            axes.tick_params(length=0)
            plot(axes)
        text = io.StringIO()
        # Nothing but the numbers goes in: no date, no version of matplotlib.
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # Matplotlib ends some lines with blanks.
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def heat_map(
    axes: Axes,
    values: FloatArray,
    *,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    largest: float,
    decimals: int,
) -> None:
    """Draw a matrix as shades, with names and numbers unless there are too many to read.

    Parameters
    ----------
    axes : Axes
    values : ndarray of shape (n_rows, n_columns), dtype=float64
        From 0 to ``largest``.
    rows, columns : tuple of str
    largest : float
        Drawn in full colour.
    decimals : int
    """
    axes.invert_yaxis()
    axes.spines[["left", "bottom"]].set_visible(False)
    if len(columns) > MOST_NAMED:
        # As an image: hundreds of thousands of cells would be tens of megabytes of SVG.
        axes.pcolormesh(values, cmap=_SHADES, vmin=0.0, vmax=largest, rasterized=True)
        return
    axes.pcolormesh(values, cmap=_SHADES, vmin=0.0, vmax=largest, edgecolors="white")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{value:.{decimals}f}",
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if value > 0.6 * largest else _INK,
            )
    axes.set_xticks([i + 0.5 for i in range(len(columns))], columns)
    axes.set_yticks([i + 0.5 for i in range(len(rows))], rows)
