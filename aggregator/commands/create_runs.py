"""``aggregator runs create``, ``create-training``, ``create-risk`` and ``presets``."""

import codecs
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from aggregator.commands.options import CLIENT_OPTIONS, FILE, client_options, opened_client
from aggregator.commands.output import ListedPreset, ListedPresets, RunOrSpec
from aggregator.commands.run_options import (
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
from aggregator.commands.window_options import (
    contract_windows,
    option_of,
    taken_windows,
    window_options,
)
from aggregator.operator.client import OperatorClient
from aggregator.operator.risk_tables import Tables, Wanted, day_text, latest_tables, named_tables
from fraudfed.catalogue.presets import PRESETS, find_preset
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES
from fraudfed.catalogue.risk_days import SECONDS_PER_DAY, needed_days
from fraudfed.catalogue.training_contract import training_contract
from fraudfed.console import answers, examples, say
from fraudfed.errors import (
    ConfigurationError,
    NotFoundError,
    ParameterError,
    RunDescriptionError,
)
from fraudfed.parameters import BoosterParams, overridden, parse_assignments
from fraudfed.wire.messages import (
    DataContract,
    KeyEpochStatus,
    ModelVisibility,
    RiskEntity,
    RiskSpec,
    RunKind,
    RunStatus,
    parse,
)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = "options"
_LATEST: Final = "latest"


def _read(path: Path, what: str) -> bytes:
    try:
        # Editors may have put a byte order mark in front.
        return path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise ConfigurationError(
            f"{what} {path} cannot be read: {error.strerror}", what_to_do="give a JSON file"
        ) from None


@click.command(
    name="create",
    epilog=examples("aggregator runs create --token-file DIR/operator.token --spec run.json"),
)
@client_options
@click.option(
    "--spec",
    "spec_path",
    required=True,
    type=FILE,
    metavar="FILE",
    help="Run description, JSON (message RunSpec), as --dry-run of the other commands prints it.",
)
@dry_run_option
@answers(RunOrSpec, show_run_or_spec)
def create_run(spec_path: Path, dry_run: bool, **connection: Any) -> RunOrSpec:
    """Open a run that a file describes, and print its id."""
    source = str(spec_path)
    spec = described(_read(spec_path, "run description"), source=source)
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
    ),
)
@client_options
@window_options
@click.option(
    "--preset",
    default="fraud",
    show_default=True,
    help="Training parameters by name; 'runs presets' lists them.",
)
@click.option(
    "--param",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A training parameter, under XGBoost's name, instead of the preset's; repeatable.",
)
@click.option(
    "--shared-risk",
    "tables",
    multiple=True,
    metavar="latest|RUN_ID",
    help="Use tables of finished risk runs: the newest that fit, or by id; repeatable.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default=RECIPE,
    show_default=True,
    help="What makes the features of raw transactions.",
)
@click.option(
    "--feature",
    "only",
    multiple=True,
    metavar="PATTERN",
    help="Take only features of these names (with * and ?); repeatable.  [default: all]",
)
@click.option(
    "--without",
    multiple=True,
    metavar="PATTERN",
    help="Leave out features of these names; repeatable.",
)
@click.option(
    "--contract",
    "contract_path",
    type=FILE,
    metavar="FILE",
    help="Your own data contract, JSON (message DataContract), instead of a recipe's.",
)
@visibility_option
@run_options
@answers(RunOrSpec, show_run_or_spec)
def create_training(
    preset: str,
    assignments: tuple[str, ...],
    tables: tuple[str, ...],
    recipe: str,
    only: tuple[str, ...],
    without: tuple[str, ...],
    contract_path: Path | None,
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
    given = taken_windows(options)
    parameters = _parameters(preset, assignments)
    windows: dict[str, Any] | None = None
    if contract_path is None:
        if "train_until" not in given:
            raise ConfigurationError(
                "--train-until is missing; give it, or your own --contract FILE"
            )
        windows = contract_windows(given)
        # Whatever tables there are: what is wrong without them is wrong before anybody is asked.
        contract = _contract(windows, recipe, only if not tables else (), ())
        title = f"training until {given['train_until']:%Y-%m-%d}"
    else:
        others = {"shared_risk": tables, "feature": only, "without": without}
        contract = _own_contract(contract_path, {**given, **others})
        title = f"training on {contract_path.stem}"
    fields = {
        "name": title if name is None else name,
        "key_epoch": 1,
        "parameters": parameters,
        "model_visibility": ModelVisibility(visibility),
        **given_fields(options),
    }
    described({**fields, "contract": contract}, source=_OPTIONS)
    with opened_client(**connection) as client:
        epoch = active_epoch(client, key_epoch, source="--key-epoch")
        chosen = None
        if windows is not None:
            chosen = _tables(client, tables, contract, epoch)
            contract = _contract(windows, recipe, only, without, chosen)
        fields["key_epoch"] = epoch.key_epoch.epoch
        spec = described({**fields, "contract": contract}, source=_OPTIONS)
        answer = open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)
    if chosen is not None:
        _say_tables(chosen, contract)
    say(
        f"{spec.name}: {len(contract.features)} features, preset {preset}, key epoch "
        f"{spec.key_epoch} with {len(epoch.key_epoch.roster)} banks",
        err=True,
    )
    return answer


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


def _contract(
    windows: dict[str, Any],
    recipe: str,
    only: tuple[str, ...],
    without: tuple[str, ...],
    tables: Tables | None = None,
) -> DataContract:
    return training_contract(
        recipe=recipe,
        windows=windows,
        tables=() if tables is None else tables.digests,
        entities=() if tables is None else tables.entities,
        only=only,
        without=without,
    )


def _own_contract(path: Path, given: dict[str, Any]) -> DataContract:
    named = [name for name, value in given.items() if value not in (None, ())]
    if named:
        raise ConfigurationError(
            f"{option_of(named[0])} and --contract exclude each other: the contract says it; "
            "change the file"
        )
    return parse(
        DataContract,
        _read(path, "data contract"),
        source=str(path),
        refusal=RunDescriptionError,
    )


def _tables(
    client: OperatorClient, names: tuple[str, ...], contract: DataContract, epoch: KeyEpochStatus
) -> Tables | None:
    """Return the risk tables that are asked for."""
    if not names:
        return None
    first, last = needed_days(contract)
    wanted = Wanted(
        delay_days=contract.risk_delay_days,
        first_day=first,
        last_day=last,
        banks=tuple(member.name for member in epoch.key_epoch.roster),
    )
    if _LATEST in names:
        if len(names) > 1:
            raise ConfigurationError(
                "--shared-risk: 'latest' and run ids exclude each other; give one of them"
            )
        return latest_tables(client.list_runs().runs, wanted)
    return named_tables([_named_run(client, name) for name in names], wanted)


def _say_tables(tables: Tables, contract: DataContract) -> None:
    """Say which tables were chosen, beside the answer."""
    for run in tables.runs:
        risk = run.spec.risk
        if risk is not None:
            days = f"{day_text(risk.first_day)}..{day_text(risk.last_day)}"
            say(f"shared risk: {run.run_id}  {days}  {run.model_sha256}", err=True)
    first, (needed, _) = tables.first_day, needed_days(contract)
    if needed is None or needed < first:
        say(f"shared risk: days before {day_text(first)} count as empty", err=True)


def _named_run(client: OperatorClient, name: str) -> RunStatus:
    try:
        return client.show_run(name)
    except (NotFoundError, ConfigurationError) as error:
        raise ConfigurationError(f"--shared-risk {name}: {error}") from None


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
@run_options
@answers(RunOrSpec, show_run_or_spec)
def create_risk_run(
    first_day: datetime,
    last_day: datetime,
    name: str | None,
    key_epoch: int | None,
    entities: tuple[str, ...],
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
        },
    }
    described(fields, source=_OPTIONS)
    with opened_client(**connection) as client:
        epoch = active_epoch(client, key_epoch, source="--key-epoch")
        spec = described({**fields, "key_epoch": epoch.key_epoch.epoch}, source=_OPTIONS)
        return open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)


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


#: The commands of this module, for the group ``runs``.
CREATING = (create_run, create_training, create_risk_run, list_presets)
