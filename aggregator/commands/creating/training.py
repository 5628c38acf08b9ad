"""``aggregator runs create``, ``create-training``, ``create-risk`` and ``presets``."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from aggregator.commands.creating.contract_options import (
    contract_options,
    read_file,
    say_tables,
    wanted_contract,
)
from aggregator.commands.creating.from_search import (
    chosen_by_run,
    chosen_in_file,
    is_file_of_search,
    refuse_own_contract,
    refuse_own_parameters,
    say_refit,
)
from aggregator.commands.creating.like_run import (
    ask_for_the_price,
    refuse_tables_with,
    repeated,
    run_to_repeat,
)
from aggregator.commands.creating.privacy_options import (
    privacy_fields,
    privacy_options,
    say_privacy,
)
from aggregator.commands.creating.run_options import (
    DAY,
    active_epoch,
    described,
    dry_run_option,
    given_fields,
    number_option,
    open_run,
    run_options,
    seconds_of,
    show_run_or_spec,
    visibility_option,
)
from aggregator.commands.options import CLIENT_OPTIONS, FILE, client_options, opened_client
from aggregator.commands.output import ListedPreset, ListedPresets, RunOrSpec
from fraudfed.catalogue.presets import PRESETS, find_preset
from fraudfed.catalogue.risk_days import SECONDS_PER_DAY
from fraudfed.console import answers, examples, say
from fraudfed.errors import ConfigurationError, ParameterError
from fraudfed.parameters import BoosterParams, overridden, parse_assignments
from fraudfed.wire.messages import (
    KeyEpochStatus,
    ModelVisibility,
    RiskEntity,
    RiskSpec,
    RunKind,
    RunSpec,
)

_OPTIONS: Final = "options"
DEFAULT_PRESET: Final = "fraud"
#: The default with ``--epsilon``.
PRIVATE_PRESET: Final = "private"


@click.command(
    name="create",
    epilog=examples(
        "aggregator runs create --token-file DIR/operator.token --spec run.json",
        "aggregator runs create --token-file DIR/operator.token --like RUN_ID --without bank-c",
    ),
)
@client_options
@click.option(
    "--spec",
    "spec_path",
    default=None,
    type=FILE,
    metavar="FILE",
    help="Run description, JSON (message RunSpec), as --dry-run of the other commands prints it.",
)
@click.option(
    "--like",
    default=None,
    metavar="RUN_ID",
    help="Repeat a finished run, without the banks of --without: their rows leave no trace.",
)
@click.option(
    "--without", multiple=True, metavar="BANK", help="With --like: leave it out; repeatable."
)
@click.option(
    "--shared-risk",
    multiple=True,
    metavar="RUN_ID",
    help="With --like: risk tables in place of that run's, which hold counts of BANK; repeatable.",
)
@click.option("--name", default=None, help="With --like: name of the run.  [default: that says it]")
@click.option("--yes", "agreed", is_flag=True, help="With --like: do not ask; the banks agreed.")
@dry_run_option
@answers(RunOrSpec, show_run_or_spec)
def create_run(
    spec_path: Path | None,
    like: str | None,
    without: tuple[str, ...],
    shared_risk: tuple[str, ...],
    name: str | None,
    agreed: bool,
    dry_run: bool,
    **connection: Any,
) -> RunOrSpec:
    """Open a run that a file describes, or a finished one without a bank, and print its id."""
    if like is not None and spec_path is not None:
        raise ConfigurationError("--spec and --like exclude each other: leave one of them out")
    if like is not None:
        source = f"--like {like}"
        with opened_client(**connection) as client:
            status = run_to_repeat(client, like, without)
            epoch = active_epoch(client, None, source=source)
            found = repeated(status, epoch, without=without, name=name, shared_risk=shared_risk)
            spec = described(found.model_dump(), source=source)
            refuse_tables_with(client, spec, without)
            ask_for_the_price(status, without, agreed=agreed or dry_run)
            return open_run(client, spec, epoch, source=source, dry_run=dry_run)
    for option, given in (("--without", without), ("--shared-risk", shared_risk), ("--name", name)):
        if given:
            raise ConfigurationError(f"{option} goes with --like RUN_ID; a file of --spec says it")
    if spec_path is None:
        raise ConfigurationError("name a description with --spec FILE, or a run with --like RUN_ID")
    source = str(spec_path)
    spec = described(read_file(spec_path, "run description"), source=source)
    with opened_client(**connection) as client:
        epoch = active_epoch(client, spec.key_epoch, source=source)
        return open_run(client, spec, epoch, source=source, dry_run=dry_run)


@click.command(
    name="create-training",
    epilog=examples(
        "export AGGREGATOR_TOKEN_FILE=DIR/operator.token",
        "aggregator runs create-training --train-until 2026-04-30 --select-until 2026-06-15 \\",
        "    --judge-until 2026-07-31",
        "aggregator runs create-training --train-until 2026-06-30 --label-horizon transfer=120 \\",
        "    --shared-risk latest --param max_depth=6 --without 'terminal_*' --dry-run",
        "aggregator runs create-training --contract contract.json --preset quick",
        "aggregator runs create-training --from-search RUN_ID",
        "aggregator runs create-training --train-until 2026-06-30 --epsilon 3 \\",
        "    --declared-rows 20000000",
    ),
)
@client_options
@contract_options
@click.option(
    "--preset",
    help="Training parameters by name; 'runs presets' lists them.  "
    f"[default: {DEFAULT_PRESET}; {PRIVATE_PRESET} with --epsilon]",
)
@click.option(
    "--param",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A training parameter, under XGBoost's name, instead of the preset's; repeatable.",
)
@click.option(
    "--from-search",
    metavar="RUN_ID|FILE",
    help="Parameters that a search has chosen. RUN_ID: on its contract, up to its last cut-off; "
    "FILE: a bank's search.json, on the contract that the other options say.",
)
@privacy_options
@visibility_option
@run_options
@answers(RunOrSpec, show_run_or_spec)
def create_training(
    preset: str | None,
    assignments: tuple[str, ...],
    from_search: str | None,
    visibility: str,
    name: str | None,
    key_epoch: int | None,
    dry_run: bool,
    **options: Any,
) -> RunOrSpec:
    """Open a training on the features of a recipe, and print its id.

    The data contract is filled in: all features of the recipe, with those of shared risk if tables
    are given. With --contract it is yours.
    """
    connection = {key: options.pop(key) for key in CLIENT_OPTIONS}
    if from_search is not None:
        refuse_own_parameters(preset, assignments)
    run_fields = {
        "model_visibility": ModelVisibility(visibility),
        "privacy": privacy_fields(options),
        **given_fields(options),
    }
    if from_search is not None and not is_file_of_search(from_search):
        refuse_own_contract(options)
        with opened_client(**connection) as client:
            chosen, contract = chosen_by_run(client, from_search)
            fields = {**run_fields, "parameters": chosen.parameters, "contract": contract}
            fields["name"] = chosen.title if name is None else name
            epoch = active_epoch(client, key_epoch, source="--key-epoch")
            spec = described({**fields, "key_epoch": epoch.key_epoch.epoch}, source=_OPTIONS)
            answer = open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)
        _say_opened(spec, epoch, f"parameters of {chosen.winner!r}")
        say_refit(chosen)
        return answer
    if from_search is None:
        default = DEFAULT_PRESET if run_fields["privacy"] is None else PRIVATE_PRESET
        found, of = None, f"preset {preset or default}"
        parameters = _parameters(preset or default, assignments)
    else:
        found = chosen_in_file(Path(from_search))
        parameters, of = found.parameters, f"parameters of {found.winner!r}"
    wanted = wanted_contract(options)
    title = f"training {wanted.title}" if found is None else f"{found.title}, {wanted.title}"
    fields = {
        "name": title if name is None else name,
        "key_epoch": 1,
        "parameters": parameters,
        **run_fields,
    }
    described({**fields, "contract": wanted.draft}, source=_OPTIONS)
    with opened_client(**connection) as client:
        epoch = active_epoch(client, key_epoch, source="--key-epoch")
        contract, tables = wanted.complete(client, epoch)
        fields["key_epoch"] = epoch.key_epoch.epoch
        spec = described({**fields, "contract": contract}, source=_OPTIONS)
        answer = open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)
    if tables is not None:
        say_tables(tables, contract)
    _say_opened(spec, epoch, of)
    if found is not None:
        say_refit(found)
    return answer


def _say_opened(spec: RunSpec, epoch: KeyEpochStatus, of: str) -> None:
    say_privacy(spec)
    n_features = 0 if spec.contract is None else len(spec.contract.features)
    say(
        f"{spec.name}: {n_features} features, {of}, key epoch {spec.key_epoch} with "
        f"{len(epoch.key_epoch.roster)} banks",
        err=True,
    )


def _parameters(preset: str, assignments: tuple[str, ...]) -> dict[str, Any]:
    given = parse_assignments(assignments, option="--param")
    try:
        base = find_preset(preset).parameters
    except ConfigurationError as error:
        raise ConfigurationError(f"--preset: {error}") from None
    parameters = overridden(base, given)
    try:
        BoosterParams.parse(parameters)
    except ParameterError as error:
        raise ParameterError(f"--param: {error}") from None
    return parameters


@click.command(
    name="create-risk",
    epilog=examples(
        "aggregator runs create-risk 2026-01-05 2026-02-01 --token-file DIR/operator.token",
    ),
)
@client_options
@click.argument("first_day", type=DAY, metavar="FIRST_DAY")
@click.argument("last_day", type=DAY, metavar="LAST_DAY")
@click.option(
    "--delay-days",
    type=int,
    default=0,
    show_default=True,
    help="Days between a payment and its entry: the --risk-delay-days of the models.",
)
@click.option(
    "--entity",
    "entities",
    multiple=True,
    type=click.Choice([entity.value for entity in RiskEntity]),
    help="What is counted; may be repeated.  [default: everything]",
)
@number_option(RiskSpec, "depth", "Rows of each sketch.")
@number_option(RiskSpec, "transaction_width", "Columns of the sketch of payments, a power of two.")
@number_option(RiskSpec, "fraud_width", "Columns of the sketch of frauds, a power of two.")
@number_option(
    RiskSpec, "min_customers", "Customers of a bank that an entity needs before it is counted."
)
@number_option(RiskSpec, "days_per_step", "Days that are summed together.")
@click.option(
    "--epsilon",
    type=float,
    help="Give every count noise: the bound for one customer of a bank and one month. One row of "
    "columns for each entity, a month in a step.",
)
@click.option(
    "--tolerated-colluders",
    type=int,
    default=1,
    show_default=True,
    help="With --epsilon: banks whose noise does not count.",
)
@run_options
@answers(RunOrSpec, show_run_or_spec)
def create_risk_run(
    first_day: datetime,
    last_day: datetime,
    name: str | None,
    key_epoch: int | None,
    entities: tuple[str, ...],
    epsilon: float | None,
    tolerated_colluders: int,
    dry_run: bool,
    **options: Any,
) -> RunOrSpec:
    """Open a run over the daily risk tables from FIRST_DAY to LAST_DAY (UTC); print its id.

    A day is one of entry: payments are entered --delay-days after their own day, frauds on that day
    or on that of their report, whichever is later.
    """
    connection = {key: options.pop(key) for key in CLIENT_OPTIONS}
    fields = {
        "name": f"risk {first_day:%Y-%m-%d}..{last_day:%Y-%m-%d}" if name is None else name,
        "key_epoch": 1,
        "kind": RunKind.RISK,
        "model_visibility": ModelVisibility.MEMBERS,
        **given_fields(options),
        "risk": {
            "first_day": seconds_of(first_day) // SECONDS_PER_DAY,
            "last_day": seconds_of(last_day) // SECONDS_PER_DAY,
            "entities": entities or tuple(RiskEntity),
            **options,
            **_noise_fields(epsilon, tolerated_colluders),
        },
    }
    described(fields, source=_OPTIONS)
    with opened_client(**connection) as client:
        epoch = active_epoch(client, key_epoch, source="--key-epoch")
        spec = described({**fields, "key_epoch": epoch.key_epoch.epoch}, source=_OPTIONS)
        return open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)


def _noise_fields(epsilon: float | None, tolerated_colluders: int) -> dict[str, Any]:
    """Return what ``--epsilon`` says of a risk run; what was typed stays, and may be refused."""
    if epsilon is None:
        return {}
    # A month is charged once if it is summed at once.
    usual = {"depth": 1, "min_customers": 1, "days_per_step": 31}
    source = click.get_current_context().get_parameter_source
    return {
        **{name: n for name, n in usual.items() if source(name) is ParameterSource.DEFAULT},
        "privacy": {"epsilon": epsilon, "tolerated_colluders": tolerated_colluders},
    }


def _show_presets(found: ListedPresets) -> None:
    for preset in found.presets:
        say(f"{preset.name}: {preset.purpose}")
        values = " ".join(f"{name}={value}" for name, value in preset.parameters.items())
        say(f"    {values or 'no parameter: all have their defaults'}")


@click.command(name="presets")
@answers(ListedPresets, _show_presets)
def list_presets() -> ListedPresets:
    """List the presets of training parameters; needs no network."""
    return ListedPresets(
        presets=tuple(
            ListedPreset(name=p.name, purpose=p.purpose, parameters=dict(p.parameters))
            for p in PRESETS.values()
        )
    )
