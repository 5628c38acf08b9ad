"""When payments are trained on and judged, and by which labels: options of several commands."""

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import click

from aggregator.commands.creating.run_options import MOST_DELAY_DAYS, TIME, seconds_of
from fraudfed.errors import ConfigurationError, RunDescriptionError
from fraudfed.payments.columns import CHANNELS
from fraudfed.wire.messages import DataContract, LabelHorizon

F = TypeVar("F", bound=Callable[..., Any])

_DAYS: Final = click.IntRange(0, MOST_DELAY_DAYS)
_SECONDS_PER_DAY: Final = 86_400
#: The cut-offs, ascending.
_CUTOFFS: Final = ("train_until", "select_until", "judge_until")
#: Parameters of a command; each option is called as its parameter.
_NAMES: Final = (
    "train_from",
    *_CUTOFFS,
    "gap_days",
    "label_horizon_days",
    "label_horizon",
    "risk_delay_days",
    "publication_lag_days",
    "exclude_known_compromised",
    "alerts_per_day",
)


def option_of(name: str) -> str:
    """Return the option that gives a parameter."""
    return f"--{name.replace('_', '-')}"


def _default(field: str) -> str:
    return f"  [default: {DataContract.model_fields[field].default}]"


def window_options(command: F) -> F:
    """Add the options that say which payments train and judge, and by which labels.

    Hand the command's options to :func:`taken_windows`.
    """
    for option in (
        click.option(
            "--alerts-per-day",
            type=click.IntRange(1, 1_000_000_000),
            help="Judge by so many alerts of all banks a day.  [default: one payment in 200]",
        ),
        click.option(
            "--exclude-known-compromised",
            is_flag=True,
            default=None,
            help="Select and judge without payments of a card or account that was reported before.",
        ),
        click.option(
            "--publication-lag-days",
            type=_DAYS,
            help="Days until a day's risk table is in use." + _default("risk_publication_lag_days"),
        ),
        click.option(
            "--risk-delay-days",
            type=_DAYS,
            help="Days after which a payment enters local windows and risk tables."
            + _default("risk_delay_days"),
        ),
        click.option(
            "--label-horizon",
            multiple=True,
            metavar="CHANNEL=DAYS",
            help="Another horizon for payments of a channel, as in transfer=395; repeatable.",
        ),
        click.option(
            "--label-horizon-days",
            type=_DAYS,
            help="Days after which a payment that was not reported counts as clean."
            f"  [default: {LabelHorizon().days}]",
        ),
        click.option(
            "--gap-days",
            type=_DAYS,
            help="Days between a cut-off and the next window, to bring a model into use."
            + _default("gap_days"),
        ),
        click.option(
            "--judge-until",
            type=TIME,
            metavar="DATE",
            help="Judge by payments between the cut-off before and this day.  [default: none]",
        ),
        click.option(
            "--select-until",
            type=TIME,
            metavar="DATE",
            help="Choose by payments between --train-until and this day.  [default: none]",
        ),
        click.option(
            "--train-from",
            type=TIME,
            metavar="DATE",
            help="First day (UTC).  [default: all there is]",
        ),
        click.option(
            "--train-until",
            type=TIME,
            metavar="DATE",
            help="Use payments up to the label horizon before this day (UTC), by labels known on "
            "it.",
        ),
    ):
        command = option(command)
    return command


def taken_windows(options: dict[str, Any]) -> dict[str, Any]:
    """Take what ``window_options`` has added out of a command's options; only what was given."""
    taken = {name: options.pop(name) for name in _NAMES}
    return {name: value for name, value in taken.items() if value not in (None, ())}


def contract_windows(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ``DataContract`` that options give.

    Parameters
    ----------
    given : dict
        As ``taken_windows`` returns it.

    Raises
    ------
    ConfigurationError
        If ``--label-horizon`` is no channel with days.
    RunDescriptionError
        If no payment can lie in a window.
    """
    times = ("train_from", *_CUTOFFS)
    fields: dict[str, Any] = {name: seconds_of(given[name]) for name in times if name in given}
    for name, option in (
        ("gap_days", "gap_days"),
        ("risk_delay_days", "risk_delay_days"),
        ("risk_publication_lag_days", "publication_lag_days"),
        ("exclude_known_compromised", "exclude_known_compromised"),
        ("alerts_per_day", "alerts_per_day"),
    ):
        if option in given:
            fields[name] = given[option]
    horizon = LabelHorizon(
        **({"days": given["label_horizon_days"]} if "label_horizon_days" in given else {}),
        by_channel=_by_channel(given.get("label_horizon", ())),
    )
    _check_order(given)
    _check_room(given, fields, horizon)
    return {**fields, "label_horizon_days": horizon}


def _by_channel(texts: tuple[str, ...]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for text in texts:
        channel, equals, days = text.partition("=")
        if channel not in CHANNELS or not equals or not days.isascii() or not days.isdecimal():
            raise ConfigurationError(
                f"--label-horizon {text!r}: expected CHANNEL=DAYS, as in transfer=395, with one of "
                f"{', '.join(CHANNELS)}"
            )
        if int(days) > MOST_DELAY_DAYS:
            raise ConfigurationError(
                f"--label-horizon {text!r}: expected at most {MOST_DELAY_DAYS} days"
            )
        if channel in found:
            raise ConfigurationError(f"--label-horizon: {channel} is given twice; give it once")
        found[channel] = int(days)
    return found


def _check_order(given: dict[str, Any]) -> None:
    """Check that cut-offs ascend, and that none is given without the one that it needs."""
    if "train_until" not in given:
        for name in _CUTOFFS[1:]:
            if name in given:
                raise RunDescriptionError(
                    f"{option_of(name)} needs --train-until, the cut-off before it; give both"
                )
    named = [name for name in ("train_from", *_CUTOFFS) if name in given]
    for before, after in itertools.pairwise(named):
        if given[before] >= given[after]:
            raise RunDescriptionError(
                f"{option_of(before)} {_day(given[before])} does not lie before "
                f"{option_of(after)} {_day(given[after])}; choose other days"
            )


def _check_room(given: dict[str, Any], fields: dict[str, Any], horizon: LabelHorizon) -> None:
    """Check that payments lie in each window, at least of the channel with the least horizon."""
    start, before = fields.get("train_from", 0), "the beginning"
    if "train_from" in given:
        before = f"--train-from {_day(given['train_from'])}"
    for name in _CUTOFFS:
        if name not in given:
            continue
        if start >= fields[name] - horizon.least_days * _SECONDS_PER_DAY:
            raise RunDescriptionError(
                f"--label-horizon-days {horizon.least_days}: no payment lies in the window from "
                f"{before}, which ends so many days before {option_of(name)} {_day(given[name])}; "
                "widen the window or shorten the horizon"
            )
        gap = fields.get("gap_days", 0)
        start = fields[name] + gap * _SECONDS_PER_DAY
        before = f"{option_of(name)} {_day(given[name])}" + (f" plus {gap} days" if gap else "")


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"
