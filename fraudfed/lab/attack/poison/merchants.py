"""Made-up payments in shared risk: a merchant that thieves use is made to look clean.

A lying bank enters payments that never were, so that the frauds that others report there are few
beside them; or reports frauds that never were at a competitor. Nothing in the sum of sketches tells
them from payments. What a cap would do is tried by letting the bank enter no more.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.train import train
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.communicator import SoloCommunicator
from fraudfed.features.builders import build_recipe
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.gate.alerts import threshold
from fraudfed.intake.windows import contract_columns
from fraudfed.lab.attack.poison.planting import made_up_payments
from fraudfed.lab.attack.poison.worlds import TRAIN_DAYS, PoisonWorld, together
from fraudfed.lab.bench.world_risk import risk_of_banks
from fraudfed.parameters import BoosterParams

_SECONDS_PER_DAY: Final = 86_400
_RATE: Final = "shared_merchant_fraud_rate_30d"
#: Payments of one bank at one merchant and day that a cap would let in.
CAP_PER_DAY: Final = 5


@dataclass(frozen=True)
class MerchantTrial:
    """What made-up payments do to one merchant in one world.

    Attributes
    ----------
    seed : int
    share : float
        Of all rows, that the lying bank holds; half of its payments are made up.
    per_day : int
        Made-up payments at the merchant a day; 0 without a lie.
    rate : float
        Mean shared fraud rate that the other banks see there on their later frauds.
    escaped : float
        Share of these frauds that score below the alert budget.
    clean_rate : float
        Mean shared fraud rate of the competitor, which has no fraud, with so many made-up reports.
    """

    seed: int
    share: float
    per_day: int
    rate: float
    escaped: float
    clean_rate: float


def merchant_trials(
    world: PoisonWorld, parameters: dict[str, Any], shares: tuple[float, ...], *, lying: float
) -> tuple[MerchantTrial, ...]:
    """Make up payments at the merchant where the other banks' later frauds are, share by share.

    Parameters
    ----------
    world : PoisonWorld
        With shared risk; its last bank lies.
    parameters : dict
        Of the training, on rows from before the lie.
    shares : tuple of float
    lying : float
        Share of the bank's payments that are made up.
    """
    *honest, _ = world.raw
    later = world.first_day + TRAIN_DAYS
    target, competitor = _target_and_competitor(world, honest, later)
    banks = world.banks(_risk(world, []))
    model = train(
        BoosterParams.parse(parameters),
        together([bank.train for bank in banks]),
        SoloCommunicator(),
        threads=1,
    ).model
    n_honest = sum(len(world.raw[name]) for name in honest)
    amounts = [0, CAP_PER_DAY]
    amounts += [round(lying * share / (1.0 - share) * n_honest / world.days) for share in shares]
    found = []
    for share, per_day in zip((0.0, 0.0, *shares), amounts, strict=True):
        draws = np.random.default_rng((world.seed, 4, per_day))
        days = range(world.first_day + TRAIN_DAYS - 30, world.first_day + world.days)
        made = [
            made_up_payments(name, days=days, per_day=per_day, is_fraud=bad, draws=draws)
            for name, bad in ((target, False), (competitor, True))
            if per_day
        ]
        shared = _risk(world, made)
        rates: list[float] = []
        clean_rates: list[float] = []
        escaped: list[bool] = []
        for name in honest:
            payments = world.raw[name]
            built = build_recipe(RECIPE, payments, shared=shared)
            rows = np.flatnonzero(built.event_time >= later * _SECONDS_PER_DAY)
            merchants = payments["merchant_id"].to_numpy(dtype=object)[built.positions[rows]]
            is_fraud = built.labels[rows] == 1
            features = contract_columns(built, world.contract)[rows]
            margins = predict_margins(model, features)
            limit = threshold(margins, 2 * int(np.count_nonzero(is_fraud)))
            rate = features[:, world.schema.names.index(_RATE)]
            at = is_fraud & (merchants == target)
            rates += rate[at].tolist()
            escaped += (margins[at] < limit).tolist()
            clean_rates += rate[merchants == competitor].tolist()
        found.append(
            MerchantTrial(
                seed=world.seed,
                share=share,
                per_day=per_day,
                rate=float(np.nanmean(rates)),
                escaped=float(np.mean(escaped)),
                clean_rate=float(np.nanmean(clean_rates)),
            )
        )
    return tuple(found)


def _risk(world: PoisonWorld, made_up: list[pd.DataFrame]) -> SharedRisk:
    frames = [*world.raw.values(), *made_up]
    return risk_of_banks(frames, first_day=world.first_day, days=world.days)


def _target_and_competitor(world: PoisonWorld, honest: list[str], later: int) -> tuple[str, str]:
    """Return the merchant with most later frauds of honest banks, and the busiest without any."""
    rows = pd.concat([world.raw[name] for name in honest])
    rows = rows[rows["merchant_id"].notna()]
    frauds = rows[(rows["is_fraud"] == 1) & (rows["event_time"] >= later * _SECONDS_PER_DAY)]
    target = str(frauds["merchant_id"].value_counts().sort_index().idxmax())
    bad = set(rows.loc[rows["is_fraud"] == 1, "merchant_id"])
    clean = rows[~rows["merchant_id"].isin(bad)]
    return target, str(clean["merchant_id"].value_counts().sort_index().idxmax())
