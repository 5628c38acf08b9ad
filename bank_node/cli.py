"""The command ``bank-node``; documented in docs/bank-node.md."""

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from bank_node.audit.check import check_against_aggregator
from bank_node.audit.explain import explain
from bank_node.commands.options import (
    COHORT,
    PATH,
    Output,
    data_option,
    end_in_order_when_terminated,
    json_option,
    map_option,
    passphrase_option,
    run_options,
    state_option,
)
from bank_node.commands.report import (
    epochs_report,
    print_data_report,
    print_epochs,
    print_roster,
    print_status,
    roster_report,
    status_report,
)
from bank_node.commands.risk import risk
from bank_node.config import DEFAULT_MIN_COHORT, CohortRules, TlsFiles
from bank_node.consortium.ceremony import AcceptedEpoch, accept_epoch, create_epoch
from bank_node.consortium.connection import connect, read_passphrase
from bank_node.consortium.enrolment import enrol
from bank_node.consortium.members import confirm_members, observe_roster, own_fingerprint
from bank_node.logs import LOG_LEVELS, configure_logging, stderr_console
from bank_node.run.choose import known_run
from bank_node.run.progress import RunProgress
from bank_node.state.audit_log import verify_audit_log
from bank_node.state.directory import StateDirectory
from fraudfed import __version__
from fraudfed.console import run_command
from fraudfed.paillier.keys import DEFAULT_KEY_BITS, MAXIMUM_KEY_BITS, MINIMUM_KEY_BITS
from fraudfed.wire.messages import BankName, RunKind

if TYPE_CHECKING:
    from fraudfed.features.mapping import Mapping


_log = logging.getLogger(__name__)

#: ``--confirm`` without a name; no bank can be called so.
EVERYBODY = "*"

_key_bits_option = click.option(
    "--key-bits",
    type=click.IntRange(min=MINIMUM_KEY_BITS, max=MAXIMUM_KEY_BITS),
    default=DEFAULT_KEY_BITS,
    show_default=True,
    help="Size of the Paillier key.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bank-node")
@click.option("--quiet", is_flag=True, help="No progress bar, results or informational text.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log as text, or as one JSON object per line; on stderr either way.",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default=None,
    help="Least severe records to log.  [default: info; warning for text with --quiet]",
)
@click.pass_context
def cli(context: click.Context, quiet: bool, log_format: str, log_level: str | None) -> None:
    """Take part in training a shared fraud model. The bank's rows never leave this machine."""
    console = stderr_console()
    as_json = log_format == "json"
    level = log_level or ("warning" if quiet and not as_json else "info")
    configure_logging(log_format=log_format, level=level, console=console)
    progress = console.is_terminal and not quiet and not as_json
    context.obj = Output(quiet=quiet, console=console, progress=progress)


@cli.command()
@state_option
@click.option("--name", required=True, help="Name of the bank, as the operator invited it.")
@click.option("--aggregator", required=True, help="URL of the aggregator; https, or loopback.")
@click.option("--invite", required=True, help="One-time code from the operator.")
@passphrase_option
@click.option(
    "--min-cohort",
    type=COHORT,
    default=DEFAULT_MIN_COHORT,
    show_default=True,
    help="Smallest cohort this bank takes part in; kept in bank.toml.",
)
@click.option(
    "--ca-file",
    type=PATH,
    default=None,
    help="Certificates (PEM) to trust for https instead of the system's; kept in bank.toml.",
)
@click.option(
    "--client-certificate",
    type=PATH,
    default=None,
    help="This bank's TLS certificate (PEM), if the aggregator asks for one; kept in bank.toml.",
)
@click.option(
    "--client-key",
    type=PATH,
    default=None,
    help="Key (PEM) of the client certificate; kept in bank.toml.",
)
@click.pass_obj
def join(
    output: Output,
    path: Path,
    name: str,
    aggregator: str,
    invite: str,
    passphrase_file: Path | None,
    min_cohort: int,
    ca_file: Path | None,
    client_certificate: Path | None,
    client_key: Path | None,
) -> None:
    """Make this bank's keys and register them at the aggregator; finishes what was cut off."""
    if (client_certificate is None) != (client_key is None):
        raise click.UsageError("--client-certificate and --client-key belong together")
    state = enrol(
        path,
        name=_bank_name(name),
        url=aggregator,
        invite=invite,
        passphrase=read_passphrase(passphrase_file),
        rules=CohortRules(min_cohort=min_cohort),
        tls=TlsFiles(
            ca_file=_absolute(ca_file),
            client_certificate=_absolute(client_certificate),
            client_key=_absolute(client_key),
        ),
    )
    output.say(
        f"bank {name} is registered at {state.config.aggregator}; its fingerprint is\n"
        f"  {own_fingerprint(state)}\n"
        "Read it to the other banks over the phone, and compare theirs with 'bank-node roster'."
    )


@cli.command()
@state_option
@passphrase_option
@click.option(
    "--confirm",
    is_flag=False,
    flag_value=EVERYBODY,
    default=None,
    metavar="[NAME]",
    help="Record that the fingerprint was compared with its owner; of all members without NAME.",
)
@json_option
@click.pass_obj
def roster(
    output: Output, path: Path, passphrase_file: Path | None, confirm: str | None, as_json: bool
) -> None:
    """Show every member's fingerprint, and record which ones a person has compared."""
    state = StateDirectory(path)
    with state.locked(), connect(state, read_passphrase(passphrase_file)) as connection:
        observed = observe_roster(state, connection.client)
        if confirm is not None:
            name = None if confirm == EVERYBODY else confirm
            observed = confirm_members(state, observed, name)
    report = roster_report(observed.pins, name=state.config.name, now=observed.members)
    if as_json:
        click.echo(json.dumps(report, indent=1))
    elif not output.quiet:
        print_roster(Console(), report)


@cli.group()
def keys() -> None:
    """Make, accept and show the consortium's keys."""


@keys.command("create")
@state_option
@passphrase_option
@_key_bits_option
@click.pass_obj
def keys_create(output: Output, path: Path, passphrase_file: Path | None, key_bits: int) -> None:
    """Make the consortium's first key and seal it to every member."""
    _make_epoch(output, path, passphrase_file, key_bits, rotate=False)


@keys.command("rotate")
@state_option
@passphrase_option
@_key_bits_option
@click.pass_obj
def keys_rotate(output: Output, path: Path, passphrase_file: Path | None, key_bits: int) -> None:
    """Make a new key for the members of now; needed whenever a bank joins or leaves."""
    _make_epoch(output, path, passphrase_file, key_bits, rotate=True)


def _make_epoch(
    output: Output, path: Path, passphrase_file: Path | None, key_bits: int, *, rotate: bool
) -> None:
    state = StateDirectory(path)
    with state.locked(), connect(state, read_passphrase(passphrase_file)) as connection:
        epoch = create_epoch(
            state,
            connection,
            observe_roster(state, connection.client),
            key_bits=key_bits,
            rotate=rotate,
        )
    names = ", ".join(member.name for member in epoch.key_epoch.roster)
    output.say(f"key epoch {epoch.key_epoch.epoch} is made and sealed to {names}")
    output.say(_epoch_state(epoch))


def _epoch_state(epoch: AcceptedEpoch) -> str:
    if epoch.active:
        return "every member has accepted it: runs can use it"
    if epoch.missing:
        return f"{', '.join(epoch.missing)} must accept it yet ('bank-node keys accept')"
    return "it is superseded: the members have changed, or there is a later one"


@keys.command("accept")
@state_option
@passphrase_option
@click.pass_obj
def keys_accept(output: Output, path: Path, passphrase_file: Path | None) -> None:
    """Check the latest key epoch, keep its key, and acknowledge it to all."""
    state = StateDirectory(path)
    with state.locked(), connect(state, read_passphrase(passphrase_file)) as connection:
        epoch = accept_epoch(state, connection, observe_roster(state, connection.client))
    output.say(
        f"key epoch {epoch.key_epoch.epoch} of steward {epoch.key_epoch.steward} is accepted: "
        f"{epoch.package.public_key.key_bits} bits, key package {epoch.package.fingerprint}"
    )
    output.say(_epoch_state(epoch))


@keys.command("show")
@state_option
@json_option
def keys_show(path: Path, as_json: bool) -> None:
    """Show the key epochs that this bank holds; needs no network."""
    report = epochs_report(StateDirectory(path))
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        print_epochs(Console(), report)


@cli.group()
def audit() -> None:
    """Check and explain the log of everything that left this bank."""


@audit.command("verify")
@state_option
@passphrase_option
@click.option(
    "--against-aggregator",
    is_flag=True,
    help="Also compare with the aggregator's log, of every run or of --run.",
)
@click.option("--run", "run_id", default=None, help="Compare this run only.  [default: all]")
@click.pass_obj
def audit_verify(
    output: Output,
    path: Path,
    passphrase_file: Path | None,
    against_aggregator: bool,
    run_id: str | None,
) -> None:
    """Check that the log is whole, and that it agrees with the aggregator's."""
    state = StateDirectory(path)
    entries = verify_audit_log(state.audit_path, signing_key=state.config.signing_key)
    output.say(f"{state.audit_path}: {len(entries)} entries, chain and signatures are whole")
    if against_aggregator:
        with connect(state, read_passphrase(passphrase_file)) as connection:
            compared = check_against_aggregator(state, connection.client, entries, run_id=run_id)
        output.say(f"the aggregator's log agrees on {compared} runs")


@audit.command("explain")
@state_option
@click.option("--run", "run_id", default=None, help="Explain this run only.  [default: all]")
def audit_explain(path: Path, run_id: str | None) -> None:
    """List in plain words every field that left this bank; needs no network."""
    state = StateDirectory(path)
    entries = verify_audit_log(state.audit_path, signing_key=state.config.signing_key)
    for line in explain(entries, run_id=run_id):
        click.echo(line)


@cli.command("check-data")
@state_option
@data_option
@map_option
@click.option(
    "--run",
    "run_id",
    default=None,
    help="The run.  [default: the last one of this bank, else the one open to it]",
)
@passphrase_option
@click.pass_obj
def check_data(
    output: Output,
    path: Path,
    data: Path,
    mapping: "Mapping | None",
    run_id: str | None,
    passphrase_file: Path | None,
) -> None:
    """Check a file against the run's data contract; sends nothing of it."""
    from bank_node.data.contract import load_training_rows
    from bank_node.jobs.registry import JOBS
    from bank_node.jobs.risk.history import training_tables

    state = StateDirectory(path)
    run = known_run(
        state,
        run_id,
        RunKind.TRAINING,
        JOBS,
        passphrase=lambda: read_passphrase(passphrase_file),
    )
    shared = training_tables(state, run.contract)
    rows = load_training_rows(data, run.contract, mapping=mapping, shared=shared)
    if not output.quiet:
        print_data_report(Console(), data, rows)


@cli.command()
@state_option
@run_options
@click.pass_obj
def train(output: Output, /, path: Path, passphrase_file: Path | None, **options: Any) -> None:
    """Train the run's model together with the other banks; goes on with what was cut off."""
    from bank_node.jobs.registry import JOBS
    from bank_node.run.context import RunOptions
    from bank_node.run.lifecycle import take_part

    end_in_order_when_terminated()
    state = StateDirectory(path)
    passphrase = read_passphrase(passphrase_file)
    with state.locked(), RunProgress(output.console, enabled=output.progress) as progress:
        record = take_part(
            state, RunOptions(**options), RunKind.TRAINING, JOBS, progress, passphrase=passphrase
        )
    whole, protection = record.whole_run, record.whole_run.protection
    if record.taken_from_registry:
        output.say(
            f"run {record.run_id}: was finished by {', '.join(record.members)}; their model "
            f"is kept here, {record.result.trees} trees, sha256 {record.model_sha256}"
        )
        return
    output.say(
        f"run {record.run_id}: {record.result.trees} trees, {whole.rounds} rounds, "
        f"{whole.ciphertexts} ciphertexts sent; model accepted, sha256 {record.model_sha256}\n"
        f"every round under {protection.key_bits}-bit Paillier, masked against "
        f"{protection.masked_against_banks} banks, {protection.rounds_verified} of "
        f"{protection.rounds} sums verified"
    )


@cli.command()
@state_option
@data_option
@map_option
@click.option("--out", type=PATH, required=True, help="File to write, .csv or .parquet.")
@click.option(
    "--model", type=PATH, default=None, help="Model file.  [default: the run's accepted model]"
)
@click.option(
    "--run", "run_id", default=None, help="The run.  [default: the last one of this bank]"
)
@click.pass_obj
def score(
    output: Output,
    path: Path,
    data: Path,
    mapping: "Mapping | None",
    out: Path,
    model: Path | None,
    run_id: str | None,
) -> None:
    """Score a file with the trained model; needs no network."""
    # xgboost takes a second to import, which no other command needs.
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.score import score_file

    state = StateDirectory(path)
    run = state.current_run(run_id)
    chosen = state.model_path(run.run_id) if model is None else model
    shared = scoring_tables(state, run.contract)
    count = score_file(
        data, out, model=chosen, contract=run.contract, mapping=mapping, shared=shared
    )
    output.say(f"{out}: {count} scores")


@cli.command()
@state_option
@data_option
@map_option
@click.option("--out", type=PATH, required=True, help="File to write, .csv or .parquet.")
@click.option(
    "--run", "run_id", default=None, help="The run.  [default: the last one of this bank]"
)
@click.pass_obj
def features(
    output: Output,
    path: Path,
    data: Path,
    mapping: "Mapping | None",
    out: Path,
    run_id: str | None,
) -> None:
    """Write the features of a file, to look at or to train another model on; needs no network."""
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.feature_export import export_features

    state = StateDirectory(path)
    run = state.current_run(run_id)
    shared = scoring_tables(state, run.contract)
    count = export_features(data, out, contract=run.contract, mapping=mapping, shared=shared)
    output.say(f"{out}: {len(run.contract.features)} features of {count} rows")


@cli.command()
@state_option
@passphrase_option
@json_option
def status(path: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Show this bank, its keys, its roster, and what protected its last run."""
    report = status_report(StateDirectory(path), read_passphrase(passphrase_file))
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        print_status(Console(), report)


cli.add_command(risk)


def main() -> NoReturn:
    """Run the command line; entry point of ``bank-node``."""
    run_command(cli, prog_name="bank-node")


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _bank_name(name: str) -> BankName:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(BankName).validate_python(name)
    except ValidationError:
        raise click.BadParameter(
            f"{name!r} is no bank name; use up to 63 of a-z, 0-9, - and _, beginning with a "
            "letter or digit",
            param_hint="--name",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
