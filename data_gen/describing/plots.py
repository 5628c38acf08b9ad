"""Plots of a data set of transactions, one SVG file each, for ``data-gen describe --plots``."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from data_gen.describing.figures import COLOURS, MOST_NAMED, heat_map, save_svg
from data_gen.describing.summary import AMOUNT_EDGES, DELAY_EDGES, Summary
from data_gen.events import CHANNEL_NAMES, KIND_NAMES
from data_gen.rng import FloatArray, IntArray
from data_gen.settings.config import DAY_SECONDS

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def save_plots(summary: Summary, manifest: Mapping[str, Any], directory: Path) -> list[Path]:
    """Draw every plot into a directory that exists, and return the files in their order."""
    paths = []
    for name, draw in _PLOTS.items():
        paths.append(directory / f"{name}.svg")
        draw(paths[-1], summary, manifest)
    return paths


def _volume_by_hour(path: Path, summary: Summary, _manifest: Mapping[str, Any]) -> None:
    def hours(axes: Axes) -> None:
        for channel, colour in zip(range(len(CHANNEL_NAMES)), COLOURS, strict=False):
            rows = summary.hours[channel].sum(axis=0)
            axes.plot(_shares(rows) * 100, color=colour, label=CHANNEL_NAMES[channel])
        axes.set_xticks(range(0, 24, 4))
        axes.set_xlabel("hour of the day, UTC")
        axes.set_ylabel("% of the channel's payments")
        axes.set_ylim(bottom=0)
        axes.grid()
        axes.legend()

    def weekdays(axes: Axes) -> None:
        rows = summary.hours.sum(axis=(0, 2))
        axes.bar(range(7), _shares(rows) * 100, color=COLOURS[0], width=0.7)
        axes.set_xticks(range(7), _WEEKDAYS)
        axes.set_ylabel("% of all payments")
        axes.grid(axis="y")

    save_svg(path, hours, weekdays)


def _volume_by_day(path: Path, summary: Summary, manifest: Mapping[str, Any]) -> None:
    first = int(manifest["start_time"])
    dates = [
        datetime.fromtimestamp(first + day * DAY_SECONDS, UTC) for day in range(summary.n_days)
    ]

    def days(axes: Axes) -> None:
        rows = summary.days.sum(axis=0)
        axes.plot(np.arange(summary.n_days), rows, color=COLOURS[0], linewidth=1.0)
        week = np.ones(7) / 7
        if summary.n_days >= 7:
            axes.plot(
                np.arange(3, summary.n_days - 3),
                np.convolve(rows, week, mode="valid"),
                color=COLOURS[1],
                label="mean of seven days",
            )
            axes.legend()
        months = [day for day, date in enumerate(dates) if date.day == 1]
        months = months[:: max(1, len(months) // 8)]
        axes.set_xticks(months, [dates[day].strftime("%Y-%m") for day in months])
        for day in manifest["config"].get("drift_days", ()):
            axes.axvline(day, color=COLOURS[6], linestyle=":", linewidth=1.0)
        axes.axvline(
            (int(manifest["split_time"]) - first) / DAY_SECONDS,
            color=COLOURS[6],
            linewidth=1.0,
        )
        axes.set_ylabel("payments a day, all banks")
        axes.set_ylim(bottom=0)
        axes.grid()

    save_svg(path, days)


def _amounts(path: Path, summary: Summary, _manifest: Mapping[str, Any]) -> None:
    def draw(axes: Axes) -> None:
        for channel, colour in zip(range(len(CHANNEL_NAMES)), COLOURS, strict=False):
            # The bin below the first edge is empty: amounts are above 0.
            shares = _shares(summary.amounts[channel])[1:] * 100
            axes.step(
                AMOUNT_EDGES / 100.0,
                shares,
                where="post",
                color=colour,
                label=CHANNEL_NAMES[channel],
            )
        _log_scale(axes, 0.1, 1e5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("amount, major units")
        axes.set_ylabel("% of the channel's payments per bin")
        axes.grid()
        axes.legend()

    save_svg(path, draw)


def _fraud_kinds(path: Path, _summary: Summary, manifest: Mapping[str, Any]) -> None:
    banks = manifest["banks"][:MOST_NAMED]
    shares = np.array(
        [
            [bank["fraud_kinds"][kind] / max(bank["rows"], 1) * 1e4 for kind in KIND_NAMES]
            for bank in banks
        ]
    )

    def draw(axes: Axes) -> None:
        left = np.zeros(len(banks))
        for kind, colour in zip(range(len(KIND_NAMES)), COLOURS, strict=False):
            axes.barh(
                range(len(banks)),
                shares[:, kind],
                left=left,
                color=colour,
                height=0.7,
                label=_words(KIND_NAMES[kind]),
            )
            left += shares[:, kind]
        axes.set_yticks(range(len(banks)), [bank["name"] for bank in banks])
        axes.set_xlabel("fraudulent payments in 10,000, by true kind")
        if len(banks) < len(manifest["banks"]):
            axes.set_title(f"the first {len(banks)} of {len(manifest['banks'])} banks")
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    save_svg(path, draw, height=1.2 + 0.3 * len(banks))


def _label_delay(path: Path, summary: Summary, _manifest: Mapping[str, Any]) -> None:
    def draw(axes: Axes) -> None:
        for kind, colour in zip(range(len(KIND_NAMES)), COLOURS, strict=False):
            counts = summary.delays[kind]
            if counts.sum():
                # Bin i ends at edge i: all rows up to it are reported by then.
                known = np.cumsum(counts)[:-1] / counts.sum() * 100
                axes.plot(DELAY_EDGES, known, color=colour, label=_words(KIND_NAMES[kind]))
        _log_scale(axes, 0.01, 1000.0)
        axes.set_ylim(0, 100)
        axes.set_xlabel("days from the payment to the report")
        axes.set_ylabel("% of reported fraud")
        axes.grid()
        if summary.delays.any():
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    save_svg(path, draw)


def _bank_distance(path: Path, summary: Summary, manifest: Mapping[str, Any]) -> None:
    found = manifest["bank_distance"]
    short = tuple(name.removeprefix("bank_") for name in summary.banks)

    def plot(mix: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            heat_map(
                axes,
                np.array(found[mix], dtype=np.float64),
                rows=short,
                columns=short,
                largest=1.0,
                decimals=2,
            )
            axes.set_title(f"{mix}s")
            axes.set_aspect("equal")

        return draw

    mixes = ("channel", "town", "kind")
    save_svg(path, *(plot(mix) for mix in mixes), width=8.4, height=3.1)


def _missing_values(path: Path, summary: Summary, _manifest: Mapping[str, Any]) -> None:
    shares = summary.missing / np.maximum(summary.channels, 1) * 100.0
    shown = np.flatnonzero(shares.sum(axis=1) > 0)

    def draw(axes: Axes) -> None:
        heat_map(
            axes,
            shares[shown],
            rows=tuple(summary.columns[index] for index in shown),
            columns=CHANNEL_NAMES,
            largest=100.0,
            decimals=1,
        )
        axes.set_title("% of payments without a value")

    save_svg(path, draw, width=5.4, height=0.8 + 0.28 * max(len(shown), 1))


_PLOTS: Final[Mapping[str, Callable[[Path, Summary, Mapping[str, Any]], None]]] = {
    "volume_by_hour": _volume_by_hour,
    "volume_by_day": _volume_by_day,
    "amounts": _amounts,
    "fraud_kinds": _fraud_kinds,
    "label_delay": _label_delay,
    "bank_distance": _bank_distance,
    "missing_values": _missing_values,
}
PLOT_NAMES: Final = tuple(_PLOTS)


def _shares(counts: IntArray) -> FloatArray:
    """Return counts as shares of their sum; zeros where there is nothing."""
    shares: FloatArray = counts / max(int(counts.sum()), 1)
    return shares


def _log_scale(axes: Axes, low: float, high: float) -> None:
    """Scale the horizontal axis by powers of ten, and write them out."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:,.12g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _words(name: str) -> str:
    return name.replace("_", " ")
