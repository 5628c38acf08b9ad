"""``aggregator runs create-statistics``: open a run that counts what columns hold."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aggregator.commands.options import CLIENT_OPTIONS, FILE, client_options, opened_client
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES, contract_features
from fraudfed.console import answers, examples, say
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import (
    DataContract,
    ModelVisibility,
    RiskEntity,
    RunCreated,
    RunKind,
    RunSpec,
    StatisticsSpec,
    parse,
)

_DAY = click.DateTime(formats=["%Y-%m-%d"])
_SECONDS_PER_DAY = 86_400


def _show_created(created: RunCreated) -> None:
    say(created.run_id)


def _default(field: str) -> Any:
    return StatisticsSpec.model_fields[field].default


@click.command(
    name="create-statistics",
    epilog=examples(
        "aggregator runs create-statistics --train-until 2026-06-30 --label-delay-days 30",
        "aggregator runs create-statistics --contract contract.json --min-count 20",
    ),
)
@client_options
@click.option(
    "--contract",
    "contract_path",
    default=None,
    type=FILE,
    metavar="FILE",
    help="Data contract, JSON (message DataContract, or a RunSpec that holds one).  [default: "
    "transactions, with every feature of the recipe]",
)
@click.option(
    "--recipe",
    default=None,
    type=click.Choice(list(RECIPES)),
    help=f"Recipe whose features are counted.  [default: {RECIPE}]",
)
@click.option(
    "--train-from", default=None, type=_DAY, help="First day (UTC) whose payments are counted."
)
@click.option(
    "--train-until",
    default=None,
    type=_DAY,
    help="Payments count up to the label delay before this day, by labels known on it.",
)
@click.option(
    "--label-delay-days",
    default=None,
    type=click.IntRange(min=0),
    help="Label delay of the recipe's features, in days.  [default: 0]",
)
@click.option("--name", default="statistics", show_default=True, help="Name of the run.")
@click.option(
    "--key-epoch",
    default=None,
    type=click.IntRange(min=1),
    help="Key epoch of the run.  [default: the newest]",
)
@click.option(
    "--entity",
    "entities",
    multiple=True,
    type=click.Choice([*(entity.value for entity in RiskEntity), "none"]),
    help="Whose identifiers are compared; may be repeated.  [default: everything]",
)
@click.option(
    "--width",
    type=int,
    default=_default("width"),
    show_default=True,
    help="Cells that identifiers of one kind are hashed to, a power of two.",
)
@click.option(
    "--min-count",
    type=int,
    default=_default("min_count"),
    show_default=True,
    help="A bank enters a smaller count as 0, and others rounded to a multiple of it.",
)
@click.option(
    "--min-customers",
    type=int,
    default=_default("min_customers"),
    show_default=True,
    help="Customers of a bank that an identifier needs before it is entered.",
)
@click.option(
    "--min-cohort",
    default=RunSpec.model_fields["min_cohort"].default,
    show_default=True,
    type=int,
    help="The run never continues with fewer banks.",
)
@answers(RunCreated, _show_created)
def create_statistics_run(
    contract_path: Path | None,
    recipe: str | None,
    train_from: datetime | None,
    train_until: datetime | None,
    label_delay_days: int | None,
    name: str,
    key_epoch: int | None,
    min_cohort: int,
    entities: tuple[str, ...],
    **options: Any,
) -> RunCreated:
    """Open a run that counts what the columns of a contract hold; print its id.

    Nothing is trained. Each bank then sees how it differs from the others.
    """
    connection = {key: options.pop(key) for key in CLIENT_OPTIONS}
    if contract_path is None:
        contract = _recipe_contract(recipe or RECIPE, train_from, train_until, label_delay_days)
    else:
        if (recipe, train_from, train_until, label_delay_days) != (None,) * 4:
            raise ConfigurationError(
                "--recipe, --train-from, --train-until and --label-delay-days: the file of "
                "--contract has its own; give one or the other"
            )
        contract = _read_contract(contract_path)
    if "none" in entities and len(entities) > 1:
        raise ConfigurationError("--entity: is none and something else; give one or the other")
    chosen = () if entities == ("none",) else entities or tuple(RiskEntity)
    spec = parse(StatisticsSpec, {"entities": chosen, **options}, source="options")
    with opened_client(**connection) as client:
        epoch = client.key_epoch(None).key_epoch.epoch if key_epoch is None else key_epoch
        description = {
            "name": name,
            "key_epoch": epoch,
            "kind": RunKind.STATISTICS,
            "contract": contract,
            "statistics": spec,
            "model_visibility": ModelVisibility.MEMBERS,
            "min_cohort": min_cohort,
        }
        return client.create_run(parse(RunSpec, description, source="options"))


def _recipe_contract(
    recipe: str,
    train_from: datetime | None,
    train_until: datetime | None,
    label_delay_days: int | None,
) -> DataContract:
    return DataContract(
        kind="transactions",
        recipe=recipe,
        features=contract_features(recipe),
        train_from=_seconds(train_from),
        train_until=_seconds(train_until),
        label_delay_seconds=(label_delay_days or 0) * _SECONDS_PER_DAY,
    )


def _seconds(day: datetime | None) -> int | None:
    return None if day is None else int(day.replace(tzinfo=UTC).timestamp())


def _read_contract(path: Path) -> DataContract:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"data contract {path} cannot be read: {error.strerror}",
            what_to_do="give a JSON file",
        ) from None
    # What a run is opened with holds one; nobody should have to cut it out.
    if b'"key_epoch"' in text:
        contract = parse(RunSpec, text, source=str(path)).contract
        if contract is None:
            raise ConfigurationError(f"{path}: describes a run without a data contract")
        return contract
    return parse(DataContract, text, source=str(path))
