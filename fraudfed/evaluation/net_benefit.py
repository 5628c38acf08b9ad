"""What alerts are worth to one bank, by its own costs. Neither leaves the bank.

Of the payments that a scoring alerts on, against alerting on none::

    net = sum over frauds of amount * loss_share * (1 - recovery)
          - alerts * cost_per_alert - clean payments * friction

That is the difference of two columns of a cost matrix that depends on the payment's amount:
C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, sections 1.1 and 2; for card
fraud A. C. Bahnsen and others, "Cost sensitive credit card fraud detection using Bayes minimum
risk", ICMLA 2013, table II, where a missed fraud costs its amount and every alert the same.

All of it is computed in exact fractions of minor currency units and rounded once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fraudfed.dtypes import BoolArray, Float32Array, Float64Array
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.payments.columns import CHANNELS
from fraudfed.payments.currencies import EXPONENTS, minor_units

#: Payments of no channel that the costs could name.
OTHER_CHANNEL = "other"


def _known_currency(code: str) -> str:
    if code not in EXPONENTS:
        raise ValueError("expected a code of ISO 4217 in capitals, such as GBP")
    return code


_Share: TypeAlias = Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)]
_Money: TypeAlias = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Channel: TypeAlias = Literal["pos", "ecommerce", "transfer", "atm"]


class ChannelCosts(BaseModel):
    """What is different of one channel; None is as everywhere.

    Attributes
    ----------
    loss_share, recovery, cost_per_alert, friction : Decimal or None
        As those of ``Costs``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss_share: _Share | None = None
    recovery: _Share | None = None
    cost_per_alert: _Money | None = None
    friction: _Money | None = None


class Costs(BaseModel):
    """A bank's costs, in whole units of its currency: pounds, not pence.

    Attributes
    ----------
    currency : str
        ISO 4217.
    cost_per_alert : Decimal
        The work on one alert, whatever it turns out to be.
    friction : Decimal
        What it costs to stop a payment that is none: calls, and customers who leave.
    loss_share : Decimal
        Share of a fraud's amount that this bank bears; what others bear is no loss of its own.
    recovery : Decimal
        Share of a fraud's amount that comes back although nobody stopped it.
    channels : mapping of channel to ChannelCosts
        What is different there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: Annotated[str, AfterValidator(_known_currency)]
    cost_per_alert: _Money
    friction: _Money
    loss_share: _Share = Decimal(1)
    recovery: _Share = Decimal(0)
    channels: Mapping[Channel, ChannelCosts] = Field(default_factory=dict)

    def of(self, channel: str) -> "Costs":
        """Return the costs of a channel, as those of all."""
        own = next((costs for name, costs in self.channels.items() if name == channel), None)
        changed = {} if own is None else own.model_dump(exclude_none=True)
        return self.model_copy(update={**changed, "channels": {}})


@dataclass(frozen=True)
class ChannelBenefit:
    """What the alerts of a channel are worth, in whole units of currency.

    Attributes
    ----------
    channel : str
        One of the channels, or ``other``.
    alerts : int
        Payments alerted on whose label is known.
    frauds : int
        Frauds among them.
    censored : int
        Further payments alerted on that the bank stopped and nobody reported.
    prevented : float
        Loss that the alerts on frauds prevent.
    alert_costs, friction : float
    net, net_low, net_high : float
        As those of ``NetBenefit``.
    """

    channel: str
    alerts: int
    frauds: int
    censored: int
    prevented: float
    alert_costs: float
    friction: float
    net: float
    net_low: float
    net_high: float


@dataclass(frozen=True)
class NetBenefit:
    """What a scoring's alerts are worth, in whole units of currency.

    Attributes
    ----------
    currency : str
    net : float
        Of alerts whose label is known.
    net_low, net_high : float
        With the censored payments alerted on, if all were clean, and if all were fraud.
    channels : tuple of ChannelBenefit
        Those with payments; they add up to the whole.
    """

    currency: str
    net: float
    net_low: float
    net_high: float
    channels: tuple[ChannelBenefit, ...]


def net_benefit(
    scores: Float32Array | Float64Array, outcomes: Outcomes, costs: Costs, alerts: int
) -> NetBenefit:
    """Return what a scoring is worth at an alert budget.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,), dtype=float32 or float64
        Higher is more suspicious.
    outcomes : Outcomes
        With amounts in minor units of the currency of ``costs``.
    costs : Costs
    alerts : int
        Most payments with a known label that are alerted on: those above the lowest threshold that
        keeps within it.

    Raises
    ------
    DataError
        If there are no amounts.
    """
    known = scores[~outcomes.is_censored]
    return benefit_of(scores >= _threshold(known, alerts), outcomes, costs)


def benefit_of(is_alerted: BoolArray, outcomes: Outcomes, costs: Costs) -> NetBenefit:
    """Return what alerts are worth, however they were chosen: by a threshold for each channel, say.

    Parameters
    ----------
    is_alerted : ndarray of shape (n_rows,), dtype=bool
    outcomes, costs
        As ``net_benefit``.

    Raises
    ------
    DataError
        If there are no amounts.
    """
    if outcomes.amounts is None:
        raise DataError(
            "costs: the payments have no amounts, which a net benefit needs; leave --costs out for "
            "tables of the kind 'table'"
        )
    places = outcomes.cells.get("channel", np.full(outcomes.n_rows, -1))
    parts = []
    net, low, high = Fraction(0), Fraction(0), Fraction(0)
    for place in np.unique(places).tolist():
        channel = CHANNELS[place] if place >= 0 else OTHER_CHANNEL
        of_channel = outcomes.take(places == place)
        part, exact = _of_channel(channel, is_alerted[places == place], of_channel, costs)
        parts.append(part)
        net, low, high = net + exact[0], low + exact[1], high + exact[2]
    unit = minor_units(costs.currency)
    return NetBenefit(
        costs.currency, float(net / unit), float(low / unit), float(high / unit), tuple(parts)
    )


def _of_channel(
    channel: str, is_alerted: BoolArray, outcomes: Outcomes, costs: Costs
) -> tuple[ChannelBenefit, tuple[Fraction, Fraction, Fraction]]:
    """Return a channel's benefit, and its net and the ends of it in exact minor units."""
    own, unit = costs.of(channel), minor_units(costs.currency)
    borne = Fraction(own.loss_share) * (1 - Fraction(own.recovery))
    per_alert, per_clean = (Fraction(each) * unit for each in (own.cost_per_alert, own.friction))
    is_fraud = is_alerted & (outcomes.labels == 1)
    is_censored = is_alerted & outcomes.is_censored
    n_alerts = int(np.count_nonzero(is_alerted & ~outcomes.is_censored))
    n_frauds, n_censored = int(np.count_nonzero(is_fraud)), int(np.count_nonzero(is_censored))

    def amount(rows: BoolArray) -> int:
        return 0 if outcomes.amounts is None else int(outcomes.amounts[rows].sum())

    prevented = amount(is_fraud) * borne
    alert_costs, friction = n_alerts * per_alert, (n_alerts - n_frauds) * per_clean
    net = prevented - alert_costs - friction
    # A payment that turns out to be fraud is never worth less than a clean one.
    low = net - n_censored * (per_alert + per_clean)
    high = net + amount(is_censored) * borne - n_censored * per_alert
    benefit = ChannelBenefit(
        channel=channel,
        alerts=n_alerts,
        frauds=n_frauds,
        censored=n_censored,
        prevented=float(prevented / unit),
        alert_costs=float(alert_costs / unit),
        friction=float(friction / unit),
        net=float(net / unit),
        net_low=float(low / unit),
        net_high=float(high / unit),
    )
    return benefit, (net, low, high)


def _threshold(scores: Float32Array | Float64Array, alerts: int) -> float:
    """Return the lowest score from which on at most ``alerts`` payments lie; infinite for none."""
    values, counts = np.unique(scores, return_counts=True)
    fit = int(np.searchsorted(np.cumsum(counts[::-1]), alerts, side="right"))
    return float("inf") if fit == 0 else float(values[::-1][fit - 1])
