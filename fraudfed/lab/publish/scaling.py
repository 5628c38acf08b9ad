"""Measure how a training grows with rows and banks, and write ``docs/scaling.md`` from it.

    python -m fraudfed.lab.publish.scaling run [NAME ...]  measure; all, or those named
    python -m fraudfed.lab.publish.scaling write           write page and plot

The page's second half is arithmetic: ``fraudfed estimate`` for consortia that nobody has measured,
and what its constants leave out, masks for every other bank, from a measurement of its own. No
figure on the page is copied by hand: ``tests/lab/test_publish_scaling.py`` fails when page and
results differ.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fraudfed.catalogue.estimate.estimate import Estimate, duration, estimate_run
from fraudfed.catalogue.estimate.setting import Setting
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.scale.rows import scale_contract
from fraudfed.lab.oracle.same_trees import installed_rules
from fraudfed.lab.publish.blocks import NOTHING, table, write_blocks
from fraudfed.lab.publish.scaling_plot import draw_scaling
from fraudfed.secure_sum.masks.streams import MaskStream, signed_sum
from fraudfed.wire.messages import RunSpec

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "scaling" / "results"
PAGE = ROOT / "docs" / "scaling.md"
PLOT = ROOT / "docs" / "scaling" / "rows.svg"

#: What is measured for the page: ``fraudfed bench ... --json`` of each.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "local": ("scale", *("--rows", "300000", "--rows", "3000000"), "--memory-limit", "4GiB"),
    "large": ("scale", "--rows", "30000000", "--memory-limit", "4GiB"),
    "dask": ("scale", "--rows", "3000000", "--engine", "dask"),
}
_MASKS = "masks"
#: Consortia of the arithmetic: banks, and rows of all of them together.
CONSORTIA = (
    (3, 30_000_000),
    (10, 300_000_000),
    (100, 1_000_000_000),
    (300, 3_000_000_000),
    (1000, 10_000_000_000),
)
#: The largest bank has so many times the mean's rows, but no more than half of all.
_LARGEST = 5.0
#: Size at which engines are compared.
_COMPARED_ROWS = 3_000_000
_CORES, _MBIT, _KEY_BITS = 16, 1000.0, 3072

Results = Mapping[str, Mapping[str, Any]]


def load_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return what was measured, by name; what was not is missing."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return {file.stem: json.loads(file.read_text()) for file in files}


def measure_masks(
    streams: Sequence[int] = (1, 10, 100), *, ciphertexts: int = 2000, key_bits: int = _KEY_BITS
) -> dict[str, Any]:
    """Measure the CPU seconds of a bank's masks of one ciphertext, for each other bank.

    The slope between the fewest and the most streams: a stream's own part, nothing that is done
    once for all of them.
    """
    modulus = (1 << key_bits) - 1
    seconds = []
    for count in (min(streams), max(streams)):
        keys = [MaskStream(secrets.token_bytes(32), 1) for _ in range(count)]
        best = float("inf")
        for _ in range(3):
            before = time.process_time()
            signed_sum(keys, ciphertexts, modulus)
            best = min(best, time.process_time() - before)
        seconds.append(best)
    slope = (seconds[1] - seconds[0]) / (max(streams) - min(streams)) / ciphertexts
    return {
        "cpu_seconds_per_bank_and_ciphertext": slope,
        "key_bits": key_bits,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],
        "machine": {"cpu": Machine.here("numpy").cpu},
    }


def render(page: str, results: Results) -> str:
    """Return the page with its tables written anew; raises ValueError as ``write_blocks``."""
    return write_blocks(
        page,
        {
            "sizes": _sizes(results),
            "phases": _phases(results),
            "pooled": _pooled(results),
            "engines": _engines(results),
            "consortia": _consortia(results),
            "measured": _measured(results),
        },
    )


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.2f} GiB"


def _all_sizes(results: Results) -> list[Mapping[str, Any]]:
    return [size for name in ("local", "large") for size in results.get(name, {}).get("sizes", ())]


def _sizes(results: Results) -> str:
    rows = [
        (
            f"{size['rows']:,}",
            f"{size['encrypted_seconds']:.0f} s",
            f"{size['own_machine_seconds']:.0f} s",
            f"{size['pooled'][0]['train_seconds']:.0f} s",
            f"{size['ratio']:.2f}",
            f"{size['ratio_own_machines']:.2f}",
            f"{size['crypto_cpu_seconds']:.2f} s",
            f"{1e3 * size['crypto_cpu_seconds'] / size['banks'][0]['ciphertexts']:.2f} ms",
            _gib(max(bank["peak_memory_bytes"] for bank in size["banks"])),
            _gib(size["aggregator_peak_memory_bytes"]),
        )
        for size in _all_sizes(results)
    ]
    head = (
        *("rows", "training", "own machines", "pooled XGBoost", "times", "own machines, times"),
        *(
            "encryption, CPU of a bank",
            "of a ciphertext",
            "memory of a bank, at most",
            "of the aggregator",
        ),
    )
    return table(head, rows)


def _phases(results: Results) -> str:
    sizes = _all_sizes(results)
    if not sizes:
        return NOTHING
    largest = [size["banks"][0] for size in sizes]
    phases = sorted({phase for bank in largest for phase in bank["cpu_seconds"]})
    rows = [
        (phase, *(f"{bank['cpu_seconds'].get(phase, 0.0):.1f} s" for bank in largest))
        for phase in phases
    ]
    return table(("phase", *(f"{bank['rows']:,} rows" for bank in largest)), rows)


def _pooled(results: Results) -> str:
    rows = [
        (
            f"{size['rows']:,}",
            "on disk" if cost["external_memory"] else "in memory",
            f"{cost['read_seconds']:.0f} s",
            f"{cost['train_seconds']:.0f} s",
            _gib(cost["peak_memory_bytes"]),
        )
        for size in _all_sizes(results)
        for cost in size["pooled"]
    ]
    return table(("rows", "bins", "reading, cuts, bins", "trees", "memory"), rows)


def _engines(results: Results) -> str:
    titles = {
        "local": "local, in memory",
        "dask": "Dask, workers on the same machine",
    }
    rows = [
        (
            title,
            f"{size['wall_seconds']:.0f} s",
            f"{size['encrypted_seconds']:.0f} s",
            size["model_sha256"][:16],
        )
        for name, title in titles.items()
        for size in results.get(name, {}).get("sizes", ())
        if size["rows"] == _COMPARED_ROWS
    ]
    return table(("engine", "programs from start to end", "training", "model, SHA-256"), rows)


def _estimate(banks: int, rows: int) -> Estimate:
    share = min(0.5, _LARGEST / banks)
    setting = Setting(
        banks=banks,
        rows=rows,
        fraud_share=0.001,
        largest_share=max(share, 1.0 / banks),
        cores=_CORES,
        mbit=_MBIT,
    )
    parameters = {
        "num_boost_round": 50,
        "max_depth": 5,
        "max_bin": 64,
        "xgboost_version": installed_rules(),
    }
    spec = RunSpec(name="scaling", key_epoch=1, parameters=parameters, contract=scale_contract(30))
    return estimate_run(spec, setting)


def _consortia(results: Results) -> str:
    mask = results.get(_MASKS, {}).get("cpu_seconds_per_bank_and_ciphertext")
    rows = []
    for banks, n_rows in CONSORTIA:
        cost = _estimate(banks, n_rows)
        through = banks * (cost.bytes_sent + cost.bytes_received)
        seconds = through * 8 / (_MBIT * 1e6)
        rows.append(
            (
                f"{banks:,}",
                f"{n_rows / 1e6:,.0f} million",
                f"{n_rows * cost.setting.largest_share / 1e6:,.0f} million",
                f"{cost.rounds:,}",
                f"{(cost.bytes_sent + cost.bytes_received) / 1e6:,.0f} MB",
                f"{cost.bank_cpu_seconds:,.0f} s",
                "-" if mask is None else f"{mask * cost.ciphertexts * (banks - 1):,.0f} s",
                f"{cost.aggregator_cpu_seconds:,.0f} s",
                f"{through / 1e9:,.1f} GB, {duration(seconds / 60)} at 1 Gbit/s",
                _gib(cost.aggregator_memory_bytes),
                duration(cost.minutes),
            )
        )
    head = (
        *("banks", "rows", "of the largest bank", "rounds", "a bank sends and receives"),
        *("CPU of the largest bank", "masks of a bank", "CPU of the aggregator"),
        *("through it", "its memory", "estimate, all in all"),
    )
    return table(head, rows)


def _measured(results: Results) -> str:
    rows = []
    for name, command in COMMANDS.items():
        if name in results:
            found = results[name]
            rows.append(
                (
                    f"`fraudfed bench {' '.join(command)}`",
                    str(found["date"])[:10],
                    str(found["machine"]["cpu"]),
                    f"{found['load_average']:.2f}",
                )
            )
    if _MASKS in results:
        found = results[_MASKS]
        rows.append(
            (
                "masks",
                str(found["date"])[:10],
                str(found["machine"]["cpu"]),
                f"{found['load_average']:.2f}",
            )
        )
    return table(("command", "date", "CPU", "load before"), rows)


@click.group()
def main() -> None:
    """Publish how a training grows."""


@main.command()
@click.argument("names", nargs=-1, type=click.Choice([*COMMANDS, _MASKS]))
def run(names: tuple[str, ...]) -> None:
    """Measure, one after the other; nothing else should run."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names or (*COMMANDS, _MASKS):
        if name == _MASKS:
            found = json.dumps(measure_masks(), indent=2, sort_keys=True)
        else:
            program = str(Path(sys.executable).with_name("fraudfed"))
            done = subprocess.run(
                [program, "bench", *COMMANDS[name], "--json"],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found = json.dumps(json.loads(done.stdout), indent=2, sort_keys=True)
        (RESULTS / f"{name}.json").write_text(found + "\n")


@main.command()
def write() -> None:
    """Write page and plot."""
    results = load_results()
    PAGE.write_text(render(PAGE.read_text(), results))
    sizes = _all_sizes(results)
    if sizes:
        PLOT.write_text(draw_scaling(sizes))


if __name__ == "__main__":
    main()
