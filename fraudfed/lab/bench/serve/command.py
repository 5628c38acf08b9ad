"""``fraudfed bench serve``: a real service on one core under a load from another process."""

import tempfile
from pathlib import Path

import click

from fraudfed.lab.bench.options import figures_of, number_option
from fraudfed.lab.bench.serve.bank import make_bank
from fraudfed.lab.bench.serve.measure import measure
from fraudfed.lab.bench.serve.result import ServeFigures


@click.command("serve")
@number_option("--seconds", 60, "Length of the load.")
@number_option("--rate", 200, "Payments a second.", most=10_000)
@number_option("--customers", 2000, "Customers of the generated world.", least=100)
@number_option("--days", 90, "Length of the generated period.", least=45)
@number_option("--trees", 100, "Trees of the model.")
@number_option("--max-depth", 6, "Depth of a tree.", most=30)
@number_option("--seed", 0, "Seed of the world.", least=0)
@figures_of(ServeFigures)
def serve_command(
    seconds: int, rate: int, customers: int, days: int, trees: int, max_depth: int, seed: int
) -> ServeFigures:
    """Measure a scoring service on one core, and compare each answer with XGBoost's."""
    with tempfile.TemporaryDirectory(prefix="fraudfed-serve-") as folder:
        work = Path(folder)
        bank = make_bank(
            work, customers=customers, days=days, seed=seed, trees=trees, max_depth=max_depth
        )
        return measure(bank, rate=rate, seconds=seconds, work=work)
