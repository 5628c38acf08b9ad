"""Work out what noise on blocks of days would do to windows, against noise on each day.

``python -m fraudfed.lab.publish.risk_trees`` prints the table of docs/shared-risk.md. A scheme
releases sums of blocks of days within each month, all with one variance, fixed by what one customer
can move in a month. A window is estimated by least squares from all blocks (M. Hay, V. Rastogi, G.
Miklau, D. Suciu, VLDB 2010, section 4): exact, nothing is drawn.
"""

import numpy as np

from fraudfed.dtypes import Float64Array
from fraudfed.features.shared_risk.noise import REPORTS_A_MONTH

N_DAYS = 31
SCHEMES = ((1,), (1, 7), (1, 4, 16), (1, 2, 4, 8, 16, 32))
WINDOWS = (1, 7, 28)


def window_sigma(blocks: tuple[int, ...], window: int, *, kind: str) -> float:
    """Return the standard deviation of a window, averaged over the days of a month that it ends on.

    In units of the noise that one count, moved by one in a month, would need.
    """
    rows, lengths = [], []
    for length in blocks:
        for first in range(0, N_DAYS, length):
            row = np.zeros(N_DAYS)
            row[first : first + length] = 1
            rows.append(row)
            lengths.append(length)
    members: Float64Array = np.array(rows)
    # Two reports on one day lie in one block of each length. A payment a day, always at one place,
    # moves each block by its days.
    moved = float(REPORTS_A_MONTH**2 * len(blocks))
    if kind == "payments":
        moved = float((members.sum(axis=1) ** 2).sum())
    of_month = np.linalg.inv(members.T @ members) * moved
    covariance = np.zeros((3 * N_DAYS, 3 * N_DAYS))
    for month in range(3):
        days = slice(month * N_DAYS, (month + 1) * N_DAYS)
        covariance[days, days] = of_month
    variances = []
    for end in range(2 * N_DAYS, 3 * N_DAYS):
        inside = np.zeros(3 * N_DAYS)
        inside[end - window : end] = 1
        variances.append(float(inside @ covariance @ inside))
    return float(np.sqrt(np.mean(variances)))


def main() -> None:
    """Print one line for each scheme: its noise, as a part of that of single days."""
    titles = [f"{kind}, {window} d" for kind in ("reports", "payments") for window in WINDOWS]
    print(f"| blocks of days | {' | '.join(titles)} |")
    print("|---|" + "--:|" * len(titles))
    for blocks in SCHEMES:
        cells = []
        for kind in ("reports", "payments"):
            for window in WINDOWS:
                alone = window_sigma((1,), window, kind=kind)
                cells.append(f"{window_sigma(blocks, window, kind=kind) / alone:.2f}")
        print(f"| {', '.join(map(str, blocks))} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
