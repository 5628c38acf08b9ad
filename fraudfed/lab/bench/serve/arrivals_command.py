"""``fraudfed bench arrivals``: a service's answers in the order of arrival, over a crash."""

import tempfile
from pathlib import Path

import click

from fraudfed.lab.bench.options import figures_of, number_option
from fraudfed.lab.bench.serve.arrivals import ArrivalFigures, measure_arrivals
from fraudfed.lab.bench.serve.bank import make_bank


@click.command("arrivals")
@number_option("--payments", 100_000, "Payments that are scored and observed.", least=100)
@number_option("--late-per-mille", 10, "Of 1000 payments, how many come late.", least=0, most=1000)
@number_option("--customers", 3000, "Customers of the generated world.", least=100)
@number_option("--days", 120, "Length of the generated period.", least=111)
@number_option("--trees", 100, "Trees of the model.")
@number_option("--max-depth", 6, "Depth of a tree.", most=30)
@number_option("--seed", 0, "Seed of the world and of the delays.", least=0)
@click.option(
    "--service/--no-service",
    default=True,
    show_default=True,
    help="Whether a service answers, is killed in the middle, and its answers are compared.",
)
@figures_of(ArrivalFigures)
def arrivals_command(
    payments: int,
    late_per_mille: int,
    customers: int,
    days: int,
    trees: int,
    max_depth: int,
    seed: int,
    service: bool,
) -> ArrivalFigures:
    """Compare a service that is killed in the middle with a batch, payment by payment."""
    with tempfile.TemporaryDirectory(prefix="fraudfed-arrivals-") as folder:
        work = Path(folder)
        bank = make_bank(
            work,
            customers=customers,
            days=days,
            seed=seed,
            trees=trees,
            max_depth=max_depth,
            preset="retail",
        )
        return measure_arrivals(
            bank,
            payments=payments,
            late_share=late_per_mille / 1000,
            seed=seed,
            service=service,
            work=work,
        )
