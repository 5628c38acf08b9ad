"""Tables of what a data set of transactions holds: counts of its manifest and of its files."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from rich.table import Table

from data_gen.describing.summary import DELAY_EDGES, Summary
from data_gen.events import CHANNEL_NAMES, KIND_NAMES
from data_gen.rng import IntArray

_MOST_COLUMNS: Final = 12

Cell = Callable[[Mapping[str, Any]], str]


def describe(manifest: Mapping[str, Any], summary: Summary) -> list[Table]:
    """Return tables: banks, fraud by kind, label delays, distances, missing values."""
    return [
        _banks(manifest),
        _channels(manifest),
        _kinds(manifest),
        _delays(summary),
        _distances(manifest),
        _missing(summary),
    ]


def table_of(
    title: str, first: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]
) -> Table:
    """Return a table: names in the first column, the other columns aligned to the right."""
    table = Table(title=title)
    table.add_column(first)
    for head in heads:
        table.add_column(head, justify="right")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _banks(manifest: Mapping[str, Any]) -> Table:
    cells: dict[str, Cell] = {
        "customers": lambda bank: f"{bank['customers']:,}",
        "rows": lambda bank: f"{bank['rows']:,}",
        "from": lambda bank: _day(bank["first_event_time"]),
        "to": lambda bank: _day(bank["last_event_time"]),
        "is_fraud": lambda bank: f"{bank['fraud_rows']:,}",
        "rate": lambda bank: _percent(bank["fraud_rows"], bank["rows"], 2),
        "true fraud": lambda bank: f"{bank['true_fraud_rows']:,}",
        "missed": lambda bank: f"{bank['missed_fraud_rows']:,}",
        "false reports": lambda bank: f"{bank['false_report_rows']:,}",
        "blocked": lambda bank: f"{bank['blocked_rows']:,}",
    }
    title = (
        f"{manifest['rows']:,} transactions, {manifest['fraud_rows']:,} labelled as fraud "
        f"({100.0 * manifest['fraud_rate']:.2f} %), seed {manifest['seed']}, "
        f"{manifest['generator']} {manifest['generator_version']}"
    )
    return _by_bank(manifest, title, cells)


def _channels(manifest: Mapping[str, Any]) -> Table:
    def cell(channel: str) -> Cell:
        return lambda bank: _percent(bank["channels"][channel], bank["rows"], 1)

    return _by_bank(
        manifest, "transactions by channel", {name: cell(name) for name in CHANNEL_NAMES}
    )


def _kinds(manifest: Mapping[str, Any]) -> Table:
    def cell(kind: str) -> Cell:
        return lambda bank: f"{bank['fraud_kinds'][kind]:,}"

    return _by_bank(
        manifest,
        "fraudulent transactions by true kind, reported or not",
        {kind.replace("_", " "): cell(kind) for kind in KIND_NAMES},
    )


def _delays(summary: Summary) -> Table:
    rows = {}
    for kind, name in enumerate(KIND_NAMES):
        counts = summary.delays[kind]
        rows[name.replace("_", " ")] = [
            f"{counts.sum():,}",
            *(_delay_quantile(counts, share) for share in (0.1, 0.5, 0.9, 0.99)),
        ]
    heads = ("reported", "10 %", "50 %", "90 %", "99 %")
    return table_of("days until so many reports of a kind are in", "kind", heads, rows)


def _delay_quantile(counts: IntArray, share: float) -> str:
    """Return a quantile of delays to the resolution of ``DELAY_EDGES``, as days."""
    if not counts.sum():
        return "-"
    index = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
    return f"{DELAY_EDGES[min(index, len(DELAY_EDGES) - 1)]:.2g}"


def _distances(manifest: Mapping[str, Any]) -> Table:
    found = manifest["bank_distance"]
    banks = [bank["name"] for bank in manifest["banks"]]
    mixes = ("channel", "town", "kind")
    # A terminal has no room for more columns; the manifest has them all.
    banks = banks[:_MOST_COLUMNS]
    mean = np.mean([found[mix] for mix in mixes], axis=0)[: len(banks), : len(banks)]
    rows = {
        name: [f"{value:.3f}" for value in line] for name, line in zip(banks, mean, strict=True)
    }
    title = (
        "distance between banks, total variation: 0 alike, 1 nothing in common; mean of "
        f"{', '.join(mixes)}; {found['mean']:.3f} over all pairs"
    )
    return table_of(title, "bank", banks, rows)


def _missing(summary: Summary) -> Table:
    rows = {
        name: [
            _percent(count, total, 1)
            for count, total in zip(summary.missing[index], summary.channels, strict=True)
        ]
        for index, name in enumerate(summary.columns)
        if summary.missing[index].any()
    }
    return table_of("transactions without a value, by channel", "column", CHANNEL_NAMES, rows)


def _by_bank(manifest: Mapping[str, Any], title: str, cells: Mapping[str, Cell]) -> Table:
    rows = {bank["name"]: [cell(bank) for cell in cells.values()] for bank in manifest["banks"]}
    return table_of(title, "bank", list(cells), rows)


def _percent(part: int, whole: int, decimals: int) -> str:
    return f"{100.0 * part / max(whole, 1):.{decimals}f} %"


def _day(time: int | None) -> str:
    return "-" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")
