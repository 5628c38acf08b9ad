"""Run the published benchmarks, and write their figures into ``docs/performance.md``.

    python -m fraudfed.lab.publish.performance run [NAME ...]  measure; all, or those named
    python -m fraudfed.lab.publish.performance write           write page and plot

No figure on the page is copied by hand: ``tests/lab/test_publish.py`` fails when page and
results differ.
"""

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from fraudfed.lab.publish.aims import aims_table
from fraudfed.lab.publish.blocks import NOTHING, table, write_blocks
from fraudfed.lab.publish.phases import draw_phases

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "performance" / "results"
PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance" / "phases.svg"

#: What is measured for the page: ``fraudfed bench ... --json`` of each.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "paillier": ("paillier", "--repeats", "15"),
    "paillier-2048": ("paillier", "--key-bits", "2048", "--repeats", "15"),
    "secure-sum": ("secure-sum", "--repeats", "15"),
    "parity": ("parity",),
    "train": ("train",),
    "train-3m": ("train", "--rows", "3000000"),
    "train-network": ("train", "--rtt", "10", "--mbit", "100"),
    "aggregator-memory": ("aggregator-memory",),
    "growth": ("growth",),
    "generate": ("generate", "--customers", "200000", "--days", "180"),
    "generate-two": ("generate", "--customers", "200000", "--days", "180", "--workers", "2"),
    "features": ("features",),
}

Results = Mapping[str, Mapping[str, Any]]

_TRAININGS = {
    "train": "300,000 rows",
    "train-3m": "3,000,000 rows",
    "train-network": "300,000 rows, 10 ms round trip, 100 Mbit/s",
}


#: Folder of what was measured on a processor without AVX-512 IFMA.
WITHOUT_IFMA = "without-ifma"
_WITHOUT_IFMA_TRAININGS = {f"{WITHOUT_IFMA}/{name}": what for name, what in _TRAININGS.items()}


def load_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return what was measured, by file; what was not is missing."""
    found = {}
    for name in (*COMMANDS, *_WITHOUT_IFMA_TRAININGS):
        file = folder / f"{name}.json"
        if file.exists():
            found[name] = json.loads(file.read_text())
    return found


def render(page: str, results: Results) -> str:
    """Return the page with every block written anew from the results.

    Raises
    ------
    ValueError
        If a block of the page is unknown, or one of ours is not on the page.
    """
    return write_blocks(page, {name: block(results) for name, block in _BLOCKS.items()})


def _machines(results: Results) -> str:
    rows = []
    for name in (*COMMANDS, *_WITHOUT_IFMA_TRAININGS):
        if name not in results:
            continue
        # ``growth`` keeps what it ran on with its base case.
        found = results[name].get("base", results[name])
        machine = found.get("machine", {})
        versions = machine.get("versions", found.get("versions", {}))
        rows.append(
            (
                f"`fraudfed bench {' '.join(COMMANDS[Path(name).name])}`",
                str(found.get("date", "-"))[:10],
                str(machine.get("cpu", "-")),
                str(machine.get("cores", found.get("threads", "-"))),
                f"{found['load_average']:.2f}" if "load_average" in found else "-",
                ", ".join(f"{package} {number}" for package, number in versions.items()),
            )
        )
    return table(("command", "date", "CPU", "cores", "load before", "versions"), rows)


def _trainings(results: Results, cases: Mapping[str, str] = _TRAININGS) -> str:
    rows = []
    for name, what in cases.items():
        if name not in results:
            continue
        found = results[name]
        bank = found["banks"][0]
        own = found["own_machines"]
        rows.append(
            (
                what,
                f"{found['encrypted_seconds']:.1f} s",
                f"{found['reference']['seconds']:.2f} s",
                f"**{found['ratio']:.1f}x**",
                f"{own['seconds']:.1f} s, {found['ratio_own_machines']:.1f}x "
                f"(at most {own['at_most_seconds']:.1f} s)",
                f"{found['identical_trees']} of {found['trees']}",
                f"{bank['ciphertexts_per_tree']:.0f}",
                f"{bank['bytes_sent_per_tree'] / 1e6:.2f} / "
                f"{bank['bytes_received_per_tree'] / 1e6:.2f} MB",
                f"{found['rounds'] / found['trees']:.1f}",
                f"{max(b['peak_memory_bytes'] for b in found['banks']) / 2**20:.0f} / "
                f"{found['aggregator_peak_memory_bytes'] / 2**20:.0f} MiB",
                f"{found['set_up_seconds']['consortium']:.0f} + "
                f"{found['set_up_seconds']['processes']:.0f} s",
            )
        )
    head = (
        *("case", "encrypted", "pooled XGBoost", "ratio", "a machine for each party"),
        *("same trees", "ciphertexts per tree", "per tree and bank, up / down", "rounds per tree"),
        *("peak memory, bank / aggregator", "set-up, not in it: consortium + processes"),
    )
    return table(head, rows)


def _phases(results: Results) -> str:
    if "train" not in results:
        return NOTHING
    found = results["train"]
    names = sorted({phase for bank in found["banks"] for phase in bank["wall_seconds"]})
    rows = [
        (
            phase,
            *(
                f"{bank['wall_seconds'].get(phase, 0.0):.2f} / "
                f"{bank['cpu_seconds'].get(phase, 0.0):.2f}"
                for bank in found["banks"]
            ),
        )
        for phase in names
    ]
    totals = [
        [sum(bank[clock].values()) for clock in ("wall_seconds", "cpu_seconds")]
        for bank in found["banks"]
    ]
    rows.append(("all", *(f"{wall:.2f} / {cpu:.2f}" for wall, cpu in totals)))
    head = ("phase", *(f"{bank['name']} ({bank['rows']:,} rows)" for bank in found["banks"]))
    return (
        "![Seconds by phase, wall and CPU, of every bank](performance/phases.svg)\n\n"
        f"{table(head, rows)}\n"
        f"Seconds, wall / CPU. The aggregator's CPU: {found['aggregator_cpu_seconds']:.2f} s.\n"
    )


def _ciphertexts(results: Results) -> str:
    rows = []
    for name in ("paillier", "paillier-2048"):
        if name not in results:
            continue
        found = results[name]
        bits = f"{found['key_bits']} bits"
        theirs = found["phe"]
        rows.append(
            (
                *(bits, "phe", f"{theirs['encrypt_microseconds']:,.0f} us", "1x"),
                *("-", f"{theirs['decrypt_microseconds']:,.0f} us", "1x", "-", "-"),
            )
        )
        rows += [
            (
                bits,
                cost["kernel"],
                f"{cost['encrypt_microseconds']:,.1f} us",
                f"{cost['encrypt_ratio']:.0f}x",
                f"{cost['encrypt_microseconds_all_threads']:,.1f} us",
                f"{cost['decrypt_microseconds']:,.1f} us",
                f"{cost['decrypt_ratio']:.1f}x",
                f"{cost['decrypt_microseconds_all_threads']:,.1f} us",
                f"{cost['packed'][0]['values_per_second'] / 1e6:.2f} M/s, "
                f"{cost['packed'][0]['bytes_per_value']:.1f} bytes",
            )
            for cost in found["kernels"]
        ]
    head = (
        *("key", "kernel", "encrypt, one thread", "against phe", "all threads"),
        *("decrypt, one thread", "against phe", "all threads", "packed 48-bit values, all threads"),
    )
    kernels = table(head, rows)
    ckks = results.get("paillier", {}).get("ckks")
    if ckks is None:
        return kernels
    return (
        f"{kernels}\nCKKS (TenSEAL {ckks['version']}, poly {ckks['poly_modulus_degree']}, "
        f"coeff_mod {'/'.join(map(str, ckks['coefficient_bits']))}) on the same machine: "
        f"{ckks['values_per_second'] / 1e6:.2f} M values/s on one core, "
        f"{ckks['bytes_per_value']:.1f} bytes per value, inexact (error "
        f"{ckks['largest_error']:.0e} of values about 1).\n"
    )


def _growth(results: Results) -> str:
    if "growth" not in results:
        return NOTHING
    rows = []
    for name, dimension in results["growth"]["dimensions"].items():
        points, fitted = dimension["points"], dimension["exponents"]
        aggregator = [point["aggregator_peak_memory_bytes"] / 2**20 for point in points]
        rows.append(
            (
                name,
                ", ".join(f"{point['size']:,}" for point in points),
                ", ".join(f"{point['encrypted_seconds']:.1f}" for point in points),
                f"{fitted['encrypted_seconds']:.2f}",
                f"{fitted['own_machine_seconds']:.2f}",
                f"{fitted['reference_seconds']:.2f}",
                f"{fitted['bytes_sent']:.2f}",
                f"{fitted['bank_peak_memory_bytes']:.2f}",
                f"{fitted['aggregator_peak_memory_bytes']:.2f} "
                f"({', '.join(f'{peak:.0f}' for peak in aggregator)} MiB)",
            )
        )
    head = (
        *("varied", "sizes", "seconds, encrypted", "e of it", "e with a machine for each party"),
        *("e of pooled XGBoost", "e of bytes a bank sends", "e of a bank's peak memory"),
        "e of the aggregator's peak memory",
    )
    return table(head, rows)


def _data(results: Results) -> str:
    rows = [
        (
            f"`data-gen generate --preset {found['preset']} --customers {found['customers']} "
            f"--days {found['days']} --workers {found['workers']}`",
            f"{found['rows']:,}",
            f"{found['seconds']:.0f} s",
            f"**{found['rows_per_second_and_core']:,.0f}**",
            f"{found['peak_memory_bytes'] / 2**20:,.0f} MiB",
            f"pyarrow writing the same rows: {found['ratio']:.1f}x",
        )
        for found in (results.get("generate"), results.get("generate-two"))
        if found is not None
    ]
    found = results.get("features")
    if found is not None:
        rows += [
            (
                f"all {found['features']} features of a table",
                f"{found['rows']:,}",
                f"{found['seconds']:.1f} s",
                f"**{found['rows_per_second']:,.0f}**",
                f"{found['peak_bytes_per_row']:.0f} bytes a row",
                "pandas' rolling windows for the customer's six counts and means: "
                f"{found['ratio']:.0f} times as long as ours",
            ),
            (
                "the same one payment at a time",
                f"{found['online_payments']:,}",
                f"{found['online_seconds']:.1f} s",
                f"**{found['online_per_second']:,.0f}**",
                "-",
                "equal to the table's to the last bit"
                if found["online_equal"]
                else "NOT equal to the table's",
            ),
        ]
    head = ("what", "rows", "time", "rows a second and core", "peak memory", "beside it")
    return table(head, rows)


_BLOCKS: Mapping[str, Callable[[Results], str]] = {
    "aims": aims_table,
    "trainings": _trainings,
    "trainings-without-ifma": functools.partial(_trainings, cases=_WITHOUT_IFMA_TRAININGS),
    "phases": _phases,
    "ciphertexts": _ciphertexts,
    "growth": _growth,
    "data": _data,
    "machines": _machines,
}


@click.group()
def cli() -> None:
    """Run the published benchmarks, and write their figures into docs/performance.md."""


@cli.command()
@click.argument("names", nargs=-1, type=click.Choice(list(COMMANDS)))
@click.option("--without-ifma", is_flag=True, help="Keep them as those of such a processor.")
def run(names: tuple[str, ...], *, without_ifma: bool) -> None:
    """Measure NAMES, or everything, one after the other."""
    folder = RESULTS / WITHOUT_IFMA if without_ifma else RESULTS
    folder.mkdir(exist_ok=True)
    for name in names or COMMANDS:
        click.echo(f"fraudfed bench {' '.join(COMMANDS[name])}", err=True)
        done = subprocess.run(
            [sys.executable, "-m", "fraudfed", "bench", *COMMANDS[name], "--json"],
            stdout=subprocess.PIPE,
            check=True,
        )
        # One line a key: a new measurement shows as what it changes.
        text = json.dumps(json.loads(done.stdout), indent=1, sort_keys=True)
        (folder / f"{name}.json").write_text(text + "\n")


@cli.command()
def write() -> None:
    """Write docs/performance.md and its plot from the results."""
    results = load_results()
    PAGE.write_text(render(PAGE.read_text(), results))
    if "train" in results:
        PLOT.parent.mkdir(exist_ok=True)
        PLOT.write_text(draw_phases(results["train"]))


if __name__ == "__main__":
    cli()
