"""``fraudfed``: demo, bench and tools."""

import click

from fraudfed import __version__
from fraudfed.console import examples, run_command, schemas_option
from fraudfed.features.command import features_command
from fraudfed.lab.bench.ciphertexts import ciphertexts_command
from fraudfed.lab.bench.features import features_bench_command
from fraudfed.lab.bench.gate.command import gate_command
from fraudfed.lab.bench.generate import generate_command
from fraudfed.lab.bench.load.command import load_command
from fraudfed.lab.bench.load.memory_command import aggregator_memory_command
from fraudfed.lab.bench.paillier import paillier_command
from fraudfed.lab.bench.parity import parity_command
from fraudfed.lab.bench.power import power_command
from fraudfed.lab.bench.reasons.command import reasons_command
from fraudfed.lab.bench.scale import scale_command
from fraudfed.lab.bench.search.command import search_command
from fraudfed.lab.bench.secure_sum import secure_sum_command
from fraudfed.lab.bench.serve.arrivals_command import arrivals_command
from fraudfed.lab.bench.serve.command import serve_command
from fraudfed.lab.bench.train.command import train_command
from fraudfed.lab.demo.command import demo_command
from fraudfed.lab.estimate import estimate_command
from fraudfed.lab.governance.command import governance
from fraudfed.lab.kubeflow import pipeline_command
from fraudfed.lab.screenshots.command import screenshots_command


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "fraudfed demo",
        "fraudfed features --json",
        "fraudfed bench parity --rows 100000",
    ),
)
@click.version_option(__version__, prog_name="fraudfed")
@schemas_option
def cli() -> None:
    """Train one fraud model across banks over an encrypted sum: demo, bench and tools."""


@cli.group()
def bench() -> None:
    """Measure fraudfed against a reference in the same run."""


bench.add_command(parity_command, name="parity")
bench.add_command(paillier_command, name="paillier")
bench.add_command(secure_sum_command, name="secure-sum")
bench.add_command(ciphertexts_command, name="ciphertexts")
bench.add_command(aggregator_memory_command, name="aggregator-memory")
bench.add_command(features_bench_command, name="features")
bench.add_command(gate_command, name="gate")
bench.add_command(generate_command, name="generate")
bench.add_command(load_command, name="load")
bench.add_command(power_command, name="power")
bench.add_command(reasons_command, name="reasons")
bench.add_command(scale_command, name="scale")
bench.add_command(search_command, name="search")
bench.add_command(serve_command, name="serve")
bench.add_command(arrivals_command, name="arrivals")
bench.add_command(train_command, name="train")
cli.add_command(demo_command, name="demo")
cli.add_command(screenshots_command, name="screenshots")
cli.add_command(estimate_command, name="estimate")
cli.add_command(features_command, name="features")
cli.add_command(governance)
cli.add_command(pipeline_command, name="pipeline")


def main() -> None:
    """Entry point of the ``fraudfed`` command."""
    run_command(cli, prog_name="fraudfed")


if __name__ == "__main__":
    main()
