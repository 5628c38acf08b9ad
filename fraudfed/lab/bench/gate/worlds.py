"""Worlds to try the gate on: long enough after training to know the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.settings.presets import PRESETS

#: Days in which models are trained, and then chosen; the rest of a world judges.
TRAIN_DAYS, SELECT_DAYS = 70, 40
#: Customers of all banks, and share of frauds: so that a truth takes minutes, not days.
_CUSTOMERS, _FRAUD_RATE = 3_000, 0.02
#: In this order: the control, in which nothing is to be gained, is one of four.
_PRESETS = ("small", "instant-payments", "retail", "iid-control")
_BANKS = 3


@dataclass(frozen=True)
class TrialWorld:
    """One world.

    Attributes
    ----------
    preset : str
    config : WorldConfig
    """

    preset: str
    config: WorldConfig

    @property
    def train_until(self) -> int:
        """Cut-off of training, UTC epoch seconds."""
        return self.config.start_time + TRAIN_DAYS * DAY_SECONDS

    @property
    def select_until(self) -> int:
        """Cut-off of choosing, UTC epoch seconds."""
        return self.train_until + SELECT_DAYS * DAY_SECONDS


def trial_worlds(count: int, *, seed: int, further_frauds: int) -> Sequence[TrialWorld]:
    """Return worlds of all presets in turn, each with a seed of its own.

    Parameters
    ----------
    count : int
    seed : int
        Of the first world.
    further_frauds : int
        Expected frauds of all banks after the models were chosen, at least.
    """
    return [
        TrialWorld(name, _continued(PRESETS[name], seed + number, further_frauds))
        for number, name in ((n, _PRESETS[n % len(_PRESETS)]) for n in range(count))
    ]


def _continued(preset: WorldConfig, seed: int, further_frauds: int) -> WorldConfig:
    per_day = _CUSTOMERS * preset.transactions_per_day * _FRAUD_RATE
    # A tenth more: fraud is planned by expectation.
    further = round(1.1 * further_frauds / per_day)
    days = TRAIN_DAYS + SELECT_DAYS + further
    return replace(
        preset,
        seed=seed,
        banks=_BANKS,
        customers=_CUSTOMERS,
        fraud_rate=_FRAUD_RATE,
        days=days,
        # As fast as in the preset, however long the period is.
        fraud_travel=preset.fraud_travel * days / preset.days,
        drift_days=(),
        incoming_delay_days=None,
        growth_per_year=0.0,
        clean_delay_days=7,
        label_delay_scale=0.25,
    )
