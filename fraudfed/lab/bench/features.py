"""``fraudfed bench features``: how fast features are built, whole tables and single payments.

The reference is what most people write: pandas' rolling windows per customer, for the customer's
counts and mean amounts, on the same rows in the same process.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pandas as pd

from fraudfed.catalogue.recipe import WINDOW_DAYS
from fraudfed.features import FeatureTable, OnlineFeatures, build_features
from fraudfed.features.payment import payments_of
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import figures_of, number_option
from fraudfed.machine.usage import usage_of

_PRESET, _BANKS = "small", 3


@dataclass(frozen=True)
class FeaturesFigures:
    """What was measured; seconds are CPU time of the process, so figures are per core.

    Attributes
    ----------
    rows, features : int
    seconds : float
        Of all features; the least of all repetitions.
    rows_per_second : float
    group_seconds : dict of str to float
        Of the same repetition by group of features; ``columns`` turns raw columns into arrays.
    table_bytes, result_bytes : int
        The raw table and its features, as they lie in memory.
    peak_bytes_per_row : float
        What the process's peak memory grew by while it built, by row.
    reference_seconds : float
        pandas' rolling windows for the customer's six counts and means; the least of all
        repetitions.
    ratio : float
        ``reference_seconds`` by the ``customer`` group's seconds, which hold those six features
        and two more.
    reference_equal : float
        Share of the reference's numbers that are ours to float32. The others are of payments that
        share their second: pandas lets some of them see each other.
    online_payments : int
    online_seconds : float
        One payment at a time: features, observing it, and the reports that came in.
    online_per_second : float
    online_equal : bool
        Whether every vector had the bytes of the table's row.
    date : str
    load_average : float
        Before the measurement.
    machine : Machine
    """

    rows: int
    features: int
    seconds: float
    rows_per_second: float
    group_seconds: dict[str, float]
    table_bytes: int
    result_bytes: int
    peak_bytes_per_row: float
    reference_seconds: float
    ratio: float
    reference_equal: float
    online_payments: int
    online_seconds: float
    online_per_second: float
    online_equal: bool
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal."""
        lines = [
            f"features  {self.features} of {self.rows:,} rows in {self.seconds:.2f} s of CPU: "
            f"{self.rows_per_second:,.0f} rows a second and core",
            *(
                f"  {group:14} {seconds:7.3f} s {self.rows / seconds:13,.0f} rows a second"
                for group, seconds in self.group_seconds.items()
            ),
            f"memory    raw {self.table_bytes / self.rows:.0f}, features "
            f"{self.result_bytes / self.rows:.0f}, at the peak {self.peak_bytes_per_row:.0f} "
            "bytes a row beside the raw table",
            f"pandas    {self.reference_seconds:.2f} s for 6 features of the customer, "
            f"{self.ratio:.1f} times as long as that group ({self.reference_equal:.2%} equal)",
            f"online    {self.online_per_second:,.0f} payments a second one at a time "
            f"({self.online_payments:,} payments, "
            f"{'all' if self.online_equal else 'NOT ALL'} equal to the table's rows)",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)


def run_features(
    transactions: pd.DataFrame, *, online_payments: int, repeats: int
) -> FeaturesFigures:
    """Measure on one bank's transactions.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions with labels.
    online_payments : int
        The first so many are also built one at a time.
    repeats : int
        Of the table and of pandas, in turn.
    """
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    by_time = transactions.sort_values("event_time", kind="stable", ignore_index=True)
    before = usage_of(os.getpid()).peak_bytes
    built, groups = _build(by_time)
    grown = usage_of(os.getpid()).peak_bytes - before
    reference_seconds = math.inf
    for _ in range(repeats):
        _, again = _build(by_time)
        groups = min(groups, again, key=lambda found: sum(found.values()))
        started = time.process_time()
        reference = _pandas_windows(by_time)
        reference_seconds = min(reference_seconds, time.process_time() - started)
    online_seconds, online_equal = _one_at_a_time(by_time.head(online_payments))
    seconds = sum(groups.values())
    ours = built.values[:, [built.names.index(str(name)) for name in reference]]
    n_online = min(online_payments, built.n_rows)
    return FeaturesFigures(
        rows=built.n_rows,
        features=len(built.names),
        seconds=seconds,
        rows_per_second=built.n_rows / seconds,
        group_seconds=groups,
        table_bytes=int(transactions.memory_usage(deep=True).sum()),
        result_bytes=built.values.nbytes,
        peak_bytes_per_row=grown / built.n_rows,
        reference_seconds=reference_seconds,
        ratio=reference_seconds / groups["customer"],
        reference_equal=float(np.isclose(ours, reference, rtol=1e-6, equal_nan=True).mean()),
        online_payments=n_online,
        online_seconds=online_seconds,
        online_per_second=n_online / online_seconds,
        online_equal=online_equal,
        date=date,
        load_average=load,
        machine=Machine.here("numpy", "pandas", "pyarrow"),
    )


def _build(transactions: pd.DataFrame) -> tuple[FeatureTable, dict[str, float]]:
    """Build the features and return the CPU seconds of each group."""
    groups: dict[str, float] = {}
    last = time.process_time()

    def on_group(name: str) -> None:
        nonlocal last
        now = time.process_time()
        groups[name], last = now - last, now

    built = build_features(transactions, on_group=on_group)
    return built, groups


def _pandas_windows(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return counts and mean amounts of each customer's earlier payments, by rolling windows."""
    frame = transactions[["customer_id", "amount_minor"]].assign(
        time=pd.to_datetime(transactions["event_time"], unit="s"), row=transactions.index
    )
    frame = frame.sort_values(["customer_id", "time"], kind="stable").set_index("time")
    found = {}
    for days in WINDOW_DAYS:
        window = frame.groupby("customer_id")["amount_minor"].rolling(f"{days}D", closed="left")
        found[f"customer_count_{days}d"] = window.count().fillna(0).to_numpy()
        found[f"customer_mean_amount_{days}d"] = window.mean().to_numpy()
    return pd.DataFrame(found, index=frame["row"].to_numpy()).sort_index()


def _one_at_a_time(transactions: pd.DataFrame) -> tuple[float, bool]:
    """Replay payments in order of time, with every report at the first second it counts for.

    Returns
    -------
    seconds : float
    equal : bool
        Whether the features are those of the whole table.
    """
    payments = payments_of(transactions)
    reported = np.flatnonzero(transactions["is_fraud"].to_numpy() == 1)
    times = transactions["label_time"].to_numpy()[reported]
    reports = sorted(zip(times.tolist(), reported.tolist(), strict=True))
    online = OnlineFeatures()
    values = np.empty((len(payments), len(online.names)), dtype=np.float32)
    learnt = 0
    started = time.process_time()
    for row, payment in enumerate(payments):
        while learnt < len(reports) and reports[learnt][0] < payment.event_time:
            known, of = reports[learnt]
            online.report(payments[of], report_time=int(known))
            learnt += 1
        values[row] = online.features(payment)
        online.observe(payment)
    seconds = time.process_time() - started
    table = build_features(transactions)
    return seconds, values.tobytes() == np.ascontiguousarray(table.values).tobytes()


def _largest_bank(*, customers: int, days: int, seed: int) -> pd.DataFrame:
    """Generate a world and return the transactions of its largest bank."""
    with tempfile.TemporaryDirectory(prefix="fraudfed-bench-") as folder:
        out = Path(folder) / "world"
        subprocess.run(
            [
                *(str(Path(sys.executable).with_name("data-gen")), "generate", "--quiet"),
                *("--preset", _PRESET, "--banks", str(_BANKS), "--customers", str(customers)),
                *("--days", str(days), "--seed", str(seed), "--out", str(out)),
            ],
            check=True,
        )
        files = sorted(out.glob("*/transactions.parquet"))
        return pd.read_parquet(max(files, key=lambda file: file.stat().st_size))


@click.command("features")
@number_option(
    "--customers",
    40_000,
    "Customers of the generated world; features are built at its largest bank.",
    least=100,
)
@number_option("--days", 120, "Length of the generated period.", least=45)
@number_option("--seed", 0, "Seed of the world.", least=0)
@number_option("--online-payments", 50_000, "Payments that are also built one at a time.")
@number_option("--repeats", 3, "Repetitions, of which the least counts.")
@figures_of(FeaturesFigures)
def features_bench_command(
    customers: int, days: int, seed: int, online_payments: int, repeats: int
) -> FeaturesFigures:
    """Measure building features: rows a second, memory, pandas beside it, one at a time."""
    transactions = _largest_bank(customers=customers, days=days, seed=seed)
    return run_features(transactions, online_payments=online_payments, repeats=repeats)
