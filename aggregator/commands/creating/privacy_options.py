"""The privacy terms of a training, as an operator says them."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import click

from fraudfed.console import say
from fraudfed.errors import ConfigurationError
from fraudfed.privacy.sizes import advice
from fraudfed.wire.messages import (
    History,
    PrivacySpec,
    PrivacyUnit,
    PrivateCuts,
    RunSpec,
    TrainingWay,
)

F = TypeVar("F", bound=Callable[..., Any])

#: Option -> field of ``PrivacySpec``.
_FIELDS = {
    "epsilon": "epsilon",
    "delta": "delta",
    "privacy_unit": "unit",
    "privacy_history": "history",
    "privacy_way": "way",
    "privacy_cuts": "cuts",
    "tolerated_colluders": "tolerated_colluders",
    "declared_rows": "declared_rows",
    "gradient_cap": "gradient_cap",
    "row_cap": "row_cap",
    "features_per_tree": "features_per_tree",
    "cuts_share": "cuts_share",
    "counts_share": "counts_share",
    "metric_share": "metric_share",
}
#: As a bank of a small consortium tolerates, and more than one of three cannot be.
DEFAULT_COLLUDERS = 1


def _default(field: str) -> Any:
    value = PrivacySpec.model_fields[field].default
    return getattr(value, "value", value)


def _choice(of: type[StrEnum]) -> click.Choice[str]:
    return click.Choice([item.value for item in of])


def privacy_options(command: F) -> F:
    """Add the options of privacy terms; hand what they take to :func:`privacy_fields`."""
    for option in (
        click.option(
            "--metric-share",
            type=float,
            help="Share of the bound for the metrics at the end; 0 leaves them out."
            f"  [default: {_default('metric_share')}]",
        ),
        click.option(
            "--counts-share",
            type=float,
            help="Share of the bound for rows and frauds, of which the base score is made; 0 with "
            f"--param base_score=.  [default: {_default('counts_share')}]",
        ),
        click.option(
            "--cuts-share",
            type=float,
            help=f"Share of the bound for noised cuts.  [default: {_default('cuts_share')}]",
        ),
        click.option(
            "--features-per-tree",
            type=int,
            help="Features drawn for each tree, way histograms."
            f"  [default: {_default('features_per_tree')}]",
        ),
        click.option(
            "--row-cap",
            type=int,
            help="Most rows of a customer that counts and metrics take, unit customer."
            f"  [default: {_default('row_cap')}]",
        ),
        click.option(
            "--gradient-cap",
            type=float,
            help="Most that a customer's rows weigh in a tree, unit customer."
            f"  [default: {_default('gradient_cap')}]",
        ),
        click.option(
            "--tolerated-colluders",
            type=int,
            help="Banks whose noise does not count, as they could subtract it; each bank asks for "
            f"at least as many as it tolerates.  [default: {DEFAULT_COLLUDERS}]",
        ),
        click.option(
            "--declared-rows",
            type=int,
            help="No more training rows than this are there at all banks; needed with --epsilon.",
        ),
        click.option(
            "--privacy-cuts",
            type=_choice(PrivateCuts),
            help="Where the edges of bins come from: the contract, or noised counts."
            f"  [default: {_default('cuts')}]",
        ),
        click.option(
            "--privacy-way",
            type=_choice(TrainingWay),
            help=f"How the bound becomes trees.  [default: {_default('way')}]",
        ),
        click.option(
            "--privacy-history",
            type=_choice(History),
            help="Where features that hold other customers' payments come from."
            f"  [default: {_default('history')}]",
        ),
        click.option(
            "--privacy-unit",
            type=_choice(PrivacyUnit),
            help="Whose presence the bound hides: one row, or all rows of a customer at a bank."
            f"  [default: {_default('unit')}]",
        ),
        click.option(
            "--delta",
            type=float,
            help="Chance with which the bound need not hold, with --epsilon."
            f"  [default: {_default('delta')}]",
        ),
        click.option(
            "--epsilon",
            type=float,
            help="Train under differential privacy: the bound for one unit over the whole "
            "training.  [default: none, sums are opened exactly]",
        ),
    ):
        command = option(command)
    return command


def privacy_fields(options: dict[str, Any]) -> dict[str, Any] | None:
    """Take the privacy terms out of a command's options; None without a bound.

    Raises
    ------
    ConfigurationError
        If terms are given without a bound, or a bound without the number of rows.
    """
    given = {name: options.pop(name) for name in _FIELDS}
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if given["epsilon"] is None:
        if named:
            raise ConfigurationError(
                f"{named[0]}: goes with --epsilon, the bound; give that, or leave it out"
            )
        return None
    if given["declared_rows"] is None:
        raise ConfigurationError(
            "--epsilon: needs --declared-rows, a number that all banks' training rows together "
            "stay at or below: under privacy terms nobody counts them exactly"
        )
    fields = {_FIELDS[name]: value for name, value in given.items() if value is not None}
    return {"tolerated_colluders": DEFAULT_COLLUDERS, **fields}


def say_privacy(spec: RunSpec) -> None:
    """Say on stderr what the terms bound, and what was measured at such a size."""
    if spec.privacy is None:
        return
    found = spec.privacy
    say(
        f"privacy: epsilon {found.epsilon:g} at delta {found.delta:g} for one {found.unit.value}, "
        f"history {found.history.value}, way {found.way.value}; noise without that of "
        f"{found.tolerated_colluders} banks",
        err=True,
    )
    warning = advice(found.terms(), found.declared_rows)
    if warning is not None:
        say(f"warning: {warning}", err=True)
