"""A table of what a generated data set holds, per bank, from its manifest."""

from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from data_gen.events import CHANNEL_NAMES, KIND_NAMES

__all__ = ["describe"]


def _day(time: int | None) -> str:
    return "-" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def _bank_column(bank: dict[str, Any]) -> list[str]:
    rows = max(bank["rows"], 1)
    return [
        f"{bank['customers']:,}",
        f"{bank['rows']:,}",
        _day(bank["first_event_time"]),
        _day(bank["last_event_time"]),
        f"{bank['fraud_rows']:,}",
        f"{100.0 * bank['fraud_rows'] / rows:.2f} %",
        *(f"{bank['fraud_kinds'][kind]:,}" for kind in KIND_NAMES),
        *(f"{100.0 * bank['channels'][channel] / rows:.1f} %" for channel in CHANNEL_NAMES),
    ]


def describe(manifest: dict[str, Any]) -> list[Table]:
    """Return tables with one row per bank: size, period, channels; then fraud by kind."""
    title = (
        f"{manifest['rows']:,} transactions, {manifest['fraud_rows']:,} fraudulent "
        f"({100.0 * manifest['fraud_rate']:.2f} %), seed {manifest['seed']}, "
        f"{manifest['generator']} {manifest['generator_version']}"
    )
    heads = ("customers", "rows", "from", "to", "fraud", "fraud rate", *KIND_NAMES, *CHANNEL_NAMES)
    cells = {
        bank["name"]: dict(zip(heads, _bank_column(bank), strict=True))
        for bank in manifest["banks"]
    }
    size = Table(title=title)
    kinds = Table(title="fraudulent transactions by kind")
    for table, columns in (
        (size, ("customers", "rows", "from", "to", "fraud", "fraud rate", *CHANNEL_NAMES)),
        (kinds, KIND_NAMES),
    ):
        table.add_column("bank")
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right")
        for name, values in cells.items():
            table.add_row(name, *(values[column] for column in columns))
    return [size, kinds]
