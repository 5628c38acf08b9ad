"""``aggregator runs create-statistics``: open a run that counts what columns hold."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from aggregator.commands.options import CLIENT_OPTIONS, FILE, client_options, opened_client
from aggregator.commands.output import RunOrSpec
from aggregator.commands.run_options import (
    MOST_DELAY_DAYS,
    TIME,
    active_epoch,
    described,
    given_fields,
    number_option,
    open_run,
    run_options,
    seconds_of,
    show_run_or_spec,
)
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES, contract_features
from fraudfed.catalogue.risk_days import SECONDS_PER_DAY
from fraudfed.console import answers, examples
from fraudfed.errors import ConfigurationError, RunDescriptionError
from fraudfed.wire.messages import (
    DataContract,
    ModelVisibility,
    RiskEntity,
    RunKind,
    RunSpec,
    StatisticsSpec,
    parse,
)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = "options"
_NONE: Final = "none"


@click.command(
    name="create-statistics",
    epilog=examples(
        "aggregator runs create-statistics --train-until 2026-06-30 --label-delay-days 30",
        "aggregator runs create-statistics --contract contract.json --min-count 20",
    ),
)
@client_options
@click.option(
    "--train-until",
    type=TIME,
    metavar="DATE",
    help="Count payments up to the label delay before this day (UTC), by labels known on it.",
)
@click.option(
    "--train-from", type=TIME, metavar="DATE", help="First day (UTC).  [default: all there is]"
)
@click.option(
    "--label-delay-days",
    type=click.IntRange(0, MOST_DELAY_DAYS),
    help="Days after which a payment that was not reported counts as clean.  [default: 0]",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    help=f"Recipe whose features are counted.  [default: {RECIPE}]",
)
@click.option(
    "--contract",
    "contract_path",
    type=FILE,
    metavar="FILE",
    help="Your own data contract, JSON (message DataContract, or a RunSpec that holds one), "
    "instead of a recipe's.",
)
@click.option(
    "--entity",
    "entities",
    multiple=True,
    type=click.Choice([*(entity.value for entity in RiskEntity), _NONE]),
    help="Whose identifiers are compared; may be repeated.  [default: everything]",
)
@number_option(
    StatisticsSpec, "width", "Cells that identifiers of one kind are hashed to, a power of two."
)
@number_option(
    StatisticsSpec,
    "min_count",
    "A bank enters a smaller count as 0, and others rounded to a multiple of it.",
)
@number_option(
    StatisticsSpec, "min_customers", "Customers of a bank that an identifier needs to be entered."
)
@run_options
@answers(RunOrSpec, show_run_or_spec)
def create_statistics_run(
    train_until: datetime | None,
    train_from: datetime | None,
    label_delay_days: int | None,
    recipe: str | None,
    contract_path: Path | None,
    entities: tuple[str, ...],
    name: str | None,
    key_epoch: int | None,
    dry_run: bool,
    **options: Any,
) -> RunOrSpec:
    """Open a run that counts what the columns of a contract hold, and print its id.

    Nothing is trained. Each bank then sees how its data differ from the others'.
    """
    connection = {key: options.pop(key) for key in CLIENT_OPTIONS}
    if contract_path is None:
        contract = _recipe_contract(recipe or RECIPE, train_from, train_until, label_delay_days)
        title = "statistics" if train_until is None else f"statistics until {train_until:%Y-%m-%d}"
    else:
        given = {
            "--train-until": train_until,
            "--train-from": train_from,
            "--label-delay-days": label_delay_days,
            "--recipe": recipe,
        }
        contract = _own_contract(contract_path, given)
        title = f"statistics of {contract_path.stem}"
    if _NONE in entities and len(entities) > 1:
        raise ConfigurationError("--entity: is none and something else; give one or the other")
    fields = {
        "name": title if name is None else name,
        "key_epoch": 1,
        "kind": RunKind.STATISTICS,
        "contract": contract,
        "model_visibility": ModelVisibility.MEMBERS,
        **given_fields(options),
        "statistics": {
            "entities": () if entities == (_NONE,) else entities or tuple(RiskEntity),
            **options,
        },
    }
    described(fields, source=_OPTIONS)
    with opened_client(**connection) as client:
        epoch = active_epoch(client, key_epoch, source="--key-epoch")
        spec = described({**fields, "key_epoch": epoch.key_epoch.epoch}, source=_OPTIONS)
        return open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)


def _recipe_contract(
    recipe: str,
    train_from: datetime | None,
    train_until: datetime | None,
    label_delay_days: int | None,
) -> DataContract:
    description = {
        "kind": "transactions",
        "recipe": recipe,
        "features": contract_features(recipe),
        "train_from": None if train_from is None else seconds_of(train_from),
        "train_until": None if train_until is None else seconds_of(train_until),
        "label_delay_seconds": (label_delay_days or 0) * SECONDS_PER_DAY,
    }
    return parse(DataContract, description, source=_OPTIONS, refusal=RunDescriptionError)


def _own_contract(path: Path, given: dict[str, Any]) -> DataContract:
    named = [option for option, value in given.items() if value is not None]
    if named:
        raise ConfigurationError(
            f"{named[0]} and --contract exclude each other: the contract says it; change the file"
        )
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"data contract {path} cannot be read: {error.strerror}",
            what_to_do="give a JSON file",
        ) from None
    # A training's description holds one: nobody should have to cut it out.
    if b'"key_epoch"' not in text:
        return parse(DataContract, text, source=str(path), refusal=RunDescriptionError)
    contract = parse(RunSpec, text, source=str(path), refusal=RunDescriptionError).contract
    if contract is None:
        raise RunDescriptionError(f"{path}: describes a run without a data contract; give another")
    return contract
