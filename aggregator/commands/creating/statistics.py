"""``aggregator runs create-statistics``: open a run that counts what columns hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from aggregator.commands.creating.contract_options import own_contract
from aggregator.commands.creating.run_options import (
    active_epoch,
    described,
    given_fields,
    number_option,
    open_run,
    run_options,
    show_run_or_spec,
)
from aggregator.commands.creating.window_options import (
    contract_windows,
    taken_windows,
    window_options,
)
from aggregator.commands.options import CLIENT_OPTIONS, FILE, client_options, opened_client
from aggregator.commands.output import RunOrSpec
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES, contract_features
from fraudfed.console import answers, examples
from fraudfed.errors import ConfigurationError, RunDescriptionError
from fraudfed.wire.messages import (
    DataContract,
    ModelVisibility,
    RiskEntity,
    RunKind,
    StatisticsSpec,
    parse,
)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = "options"
_NONE: Final = "none"


@click.command(
    name="create-statistics",
    epilog=examples(
        "aggregator runs create-statistics --train-until 2026-06-30 --label-horizon-days 60",
        "aggregator runs create-statistics --contract contract.json --min-count 20",
    ),
)
@client_options
@window_options
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
    given = taken_windows(options)
    if contract_path is None:
        contract = _recipe_contract(recipe or RECIPE, given)
        until = given.get("train_until")
        title = "statistics" if until is None else f"statistics until {until:%Y-%m-%d}"
    else:
        contract = own_contract(contract_path, {**given, "recipe": recipe})
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


def _recipe_contract(recipe: str, given: dict[str, Any]) -> DataContract:
    description = {
        "kind": "transactions",
        "recipe": recipe,
        "features": contract_features(recipe),
        **contract_windows(given),
    }
    return parse(DataContract, description, source=_OPTIONS, refusal=RunDescriptionError)
