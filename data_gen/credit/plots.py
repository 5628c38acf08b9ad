"""The plot of a data set of credit applications, for ``data-gen describe --plots``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from data_gen.credit.describe import SCORE_STEP, SCORES, CreditSummary
from data_gen.describing.figures import COLOURS, MOST_NAMED, save_svg

CREDIT_PLOT_NAMES: Final = ("credit_defaults",)


def save_credit_plots(
    summary: CreditSummary, manifest: Mapping[str, Any], directory: Path
) -> list[Path]:
    """Draw default rates by bureau score and by bank, and return the files."""

    def by_score(axes: Axes) -> None:
        rows = np.maximum(summary.scores[:, 0], 1)
        axes.bar(
            SCORES + SCORE_STEP / 2,
            summary.scores[:, 1] / rows * 100,
            width=SCORE_STEP * 0.85,
            color=COLOURS[0],
        )
        axes.set_xlabel("bureau score")
        axes.set_ylabel("% of applications that default")
        axes.grid(axis="y")

    def by_bank(axes: Axes) -> None:
        banks = manifest["banks"][:MOST_NAMED]
        rates = [100.0 * bank["default_rate"] for bank in banks]
        axes.barh(range(len(banks)), rates, color=COLOURS[1], height=0.7)
        axes.set_yticks(range(len(banks)), [bank["name"] for bank in banks])
        if len(banks) < len(manifest["banks"]):
            axes.set_title(f"the first {len(banks)} of {len(manifest['banks'])} banks")
        axes.set_xlabel("% of applications that default")
        axes.invert_yaxis()
        axes.grid(axis="x")

    path = directory / f"{CREDIT_PLOT_NAMES[0]}.svg"
    save_svg(path, by_score, by_bank)
    return [path]
