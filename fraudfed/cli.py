"""``fraudfed``: demo, bench and tools."""

import click

from fraudfed import __version__
from fraudfed.console import CommandsOnDemand, examples, run_command, schemas_option

#: Where each command is.
_COMMANDS = {
    "demo": "fraudfed.lab.demo.command:demo_command",
    "screenshots": "fraudfed.lab.screenshots.command:screenshots_command",
    "estimate": "fraudfed.lab.estimate:estimate_command",
    "features": "fraudfed.features.command:features_command",
    "governance": "fraudfed.lab.governance.command:governance",
    "pipeline": "fraudfed.lab.kubeflow:pipeline_command",
}
_BENCH = {
    "parity": "fraudfed.lab.bench.parity:parity_command",
    "paillier": "fraudfed.lab.bench.paillier:paillier_command",
    "secure-sum": "fraudfed.lab.bench.secure_sum:secure_sum_command",
    "ciphertexts": "fraudfed.lab.bench.ciphertexts:ciphertexts_command",
    "aggregator-memory": "fraudfed.lab.bench.load.memory_command:aggregator_memory_command",
    "arrivals": "fraudfed.lab.bench.serve.arrivals_command:arrivals_command",
    "features": "fraudfed.lab.bench.features:features_bench_command",
    "gate": "fraudfed.lab.bench.gate.command:gate_command",
    "generate": "fraudfed.lab.bench.generate:generate_command",
    "growth": "fraudfed.lab.bench.growth:growth_command",
    "load": "fraudfed.lab.bench.load.command:load_command",
    "noise": "fraudfed.lab.bench.noise:noise_command",
    "power": "fraudfed.lab.bench.power:power_command",
    "reasons": "fraudfed.lab.bench.reasons.command:reasons_command",
    "scale": "fraudfed.lab.bench.scale.command:scale_command",
    "search": "fraudfed.lab.bench.search.command:search_command",
    "serve": "fraudfed.lab.bench.serve.command:serve_command",
    "train": "fraudfed.lab.bench.train.command:train_command",
}
_ATTACK = {
    "differencing": "fraudfed.lab.attack.differencing.command:differencing_command",
    "membership": "fraudfed.lab.attack.membership.command:membership_command",
    "poison": "fraudfed.lab.attack.poison.command:poison_command",
    "reconstruction": "fraudfed.lab.attack.reconstruction.command:reconstruction_command",
}
_PRIVACY = {
    "audit": "fraudfed.lab.privacy.audit:audit_command",
    "audit-training": "fraudfed.lab.privacy.whole_training:audit_training_command",
    "curve": "fraudfed.lab.privacy.curve:curve_command",
}


@click.group(
    commands=CommandsOnDemand(_COMMANDS),
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


@cli.group(commands=CommandsOnDemand(_BENCH))
def bench() -> None:
    """Measure fraudfed against a reference in the same run."""


@cli.group(commands=CommandsOnDemand(_ATTACK))
def attack() -> None:
    """Try published attacks on models of our own."""


@cli.group(commands=CommandsOnDemand(_PRIVACY))
def privacy() -> None:
    """Measure what noise protects, and what it costs."""


def main() -> None:
    """Entry point of the ``fraudfed`` command."""
    run_command(cli, prog_name="fraudfed")


if __name__ == "__main__":
    main()
