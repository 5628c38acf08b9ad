"""The data contract of a training or search, as an operator says it: windows, features, tables."""

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from aggregator.commands.creating.window_options import (
    contract_windows,
    option_of,
    taken_windows,
    window_options,
)
from aggregator.commands.options import FILE
from aggregator.operator.client import OperatorClient
from aggregator.operator.risk_tables import Tables, Wanted, day_text, latest_tables, named_tables
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES
from fraudfed.catalogue.risk_days import needed_days
from fraudfed.catalogue.training_contract import training_contract
from fraudfed.console import say
from fraudfed.errors import ConfigurationError, NotFoundError, RunDescriptionError
from fraudfed.wire.messages import DataContract, KeyEpochStatus, RunSpec, RunStatus, parse

F = TypeVar("F", bound=Callable[..., Any])

_LATEST: Final = "latest"
#: Parameters of a command beside those of windows; each option is called as its parameter.
_OTHERS: Final = ("shared_risk", "recipe", "feature", "without")


def contract_options(command: F) -> F:
    """Add the options that say which payments and features; see :func:`wanted_contract`."""
    for option in (
        click.option(
            "--contract",
            "contract_path",
            type=FILE,
            metavar="FILE",
            help="Your own data contract, JSON (message DataContract, or a RunSpec that holds "
            "one), instead of a recipe's.",
        ),
        click.option(
            "--without",
            multiple=True,
            metavar="PATTERN",
            help="Leave out features of these names; repeatable.",
        ),
        click.option(
            "--feature",
            multiple=True,
            metavar="PATTERN",
            help="Take only features of these names (with * and ?); repeatable.  [default: all]",
        ),
        click.option(
            "--recipe",
            type=click.Choice(list(RECIPES)),
            help=f"What makes the features of raw transactions.  [default: {RECIPE}]",
        ),
        click.option(
            "--shared-risk",
            multiple=True,
            metavar="latest|RUN_ID",
            help="Use tables of finished risk runs: the newest that fit, or by id; repeatable.",
        ),
    ):
        command = option(command)
    return window_options(command)


@dataclass(frozen=True)
class WantedContract:
    """A contract as it is asked for: complete once the service has been asked for its tables.

    Attributes
    ----------
    draft : DataContract
        Complete, but for risk tables and what they make.
    title : str
        ``until 2026-06-30``, or ``on`` and the name of a file.
    windows : dict or None
        Fields of the contract; None for one that a file holds.
    recipe : str
    only, without, tables : tuple of str
    """

    draft: DataContract
    title: str
    windows: dict[str, Any] | None = None
    recipe: str = RECIPE
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def complete(
        self, client: OperatorClient, epoch: KeyEpochStatus
    ) -> tuple[DataContract, Tables | None]:
        """Return the contract, and the risk tables that it names.

        Raises
        ------
        ConfigurationError, RunDescriptionError
            If there are no such tables, or they do not fit.
        """
        if self.windows is None:
            return self.draft, None
        chosen = _tables(client, self.tables, self.draft, epoch)
        contract = _contract(self.windows, self.recipe, self.only, self.without, chosen)
        return contract, chosen


def wanted_contract(options: dict[str, Any]) -> WantedContract:
    """Take what ``contract_options`` has added out of a command's options.

    Raises
    ------
    ConfigurationError
        If ``--train-until`` is missing, options exclude each other, or a file cannot be read.
    RunDescriptionError
        If no payment can lie in a window, or a file holds no contract.
    """
    given = taken_windows(options)
    path: Path | None = options.pop("contract_path")
    others = {name: options.pop(name) for name in _OTHERS}
    if path is not None:
        contract = own_contract(path, {**given, **others})
        return WantedContract(contract, f"on {path.stem}")
    if "train_until" not in given:
        raise ConfigurationError("--train-until is missing; give it, or your own --contract FILE")
    windows, recipe = contract_windows(given), others["recipe"] or RECIPE
    only, without, tables = (others[name] for name in ("feature", "without", "shared_risk"))
    # Whatever tables there are: what is wrong without them is wrong before anybody is asked.
    draft = _contract(windows, recipe, only if not tables else (), ())
    title = f"until {given['train_until']:%Y-%m-%d}"
    return WantedContract(draft, title, windows, recipe, only, without, tables)


def say_tables(tables: Tables, contract: DataContract) -> None:
    """Say which tables were chosen, beside the answer."""
    for run in tables.runs:
        risk = run.spec.risk
        if risk is not None:
            days = f"{day_text(risk.first_day)}..{day_text(risk.last_day)}"
            say(f"shared risk: {run.run_id}  {days}  {run.model_sha256}", err=True)
    first, (needed, _) = tables.first_day, needed_days(contract)
    if needed is None or needed < first:
        say(f"shared risk: days before {day_text(first)} count as empty", err=True)


def read_file(path: Path, what: str) -> bytes:
    """Read a file that the operator named.

    Raises
    ------
    ConfigurationError
        If it cannot be read.
    """
    try:
        # Editors may have put a byte order mark in front.
        return path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise ConfigurationError(
            f"{what} {path} cannot be read: {error.strerror}", what_to_do="give a JSON file"
        ) from None


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


def own_contract(path: Path, given: dict[str, Any]) -> DataContract:
    """Return the contract that a file holds, alone or in the description of a run.

    Parameters
    ----------
    path : Path
    given : dict
        What other options say of a contract; none may.

    Raises
    ------
    ConfigurationError
        If an option does, or the file cannot be read.
    RunDescriptionError
        If the file holds no contract.
    """
    named = [name for name, value in given.items() if value not in (None, ())]
    if named:
        raise ConfigurationError(
            f"{option_of(named[0])} and --contract exclude each other: the contract says it; "
            "change the file"
        )
    text = read_file(path, "data contract")
    # A run's description holds one: nobody should have to cut it out.
    if b'"key_epoch"' not in text:
        return parse(DataContract, text, source=str(path), refusal=RunDescriptionError)
    contract = parse(RunSpec, text, source=str(path), refusal=RunDescriptionError).contract
    if contract is None:
        raise RunDescriptionError(f"{path}: describes a run without a data contract; give another")
    return contract


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


def _named_run(client: OperatorClient, name: str) -> RunStatus:
    try:
        return client.show_run(name)
    except (NotFoundError, ConfigurationError) as error:
        raise ConfigurationError(f"--shared-risk {name}: {error}") from None
