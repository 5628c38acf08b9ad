"""Named configurations to start from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from data_gen.settings.config import WorldConfig

# 2025-07-01T00:00:00Z: half a year from here ends with the year-end rise.
_JULY_2025: Final = 1_751_328_000

PRESETS: Final[Mapping[str, WorldConfig]] = MappingProxyType(
    {
        "small": WorldConfig(),
        "retail": WorldConfig(
            banks=8,
            customers=20_000,
            days=180,
            start_time=_JULY_2025,
            fraud_rate=0.004,
            missing_column_share=0.25,
            drift_days=(110,),
            clean_delay_days=30,
            label_delay_scale=1.0,
        ),
        "instant-payments": WorldConfig(
            banks=6,
            customers=8_000,
            days=120,
            channel_share=(0.08, 0.10, 0.78, 0.04),
            kind_share=(0.05, 0.03, 0.02, 0.32, 0.42, 0.14, 0.02),
            fraud_rate=0.006,
            multi_bank_share=0.20,
            incoming_delay_days=2.0,
        ),
        "aml-mules": WorldConfig(
            banks=6,
            customers=8_000,
            days=120,
            channel_share=(0.20, 0.15, 0.55, 0.10),
            kind_share=(0.04, 0.02, 0.02, 0.15, 0.25, 0.50, 0.02),
            fraud_rate=0.008,
            multi_bank_share=0.20,
            incoming_delay_days=2.0,
        ),
        "iid-control": WorldConfig(
            banks=3,
            customers=6_000,
            days=120,
            fraud_rate=0.05,
            # Kinds that a bank of this size can learn from its own cases alone.
            kind_share=(0.4, 0.0, 0.0, 0.3, 0.3, 0.0, 0.0),
            size_exponent=0.0,
            channel_spread=0.0,
            amount_spread=0.0,
            region_spread=0.0,
            fraud_rate_spread=0.0,
            fraud_mix_spread=0.0,
            multi_bank_share=0.0,
            fraud_travel=0.0,
            campaign_reach=0.0,
        ),
    }
)

PRESET_PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "small": "demonstrations and tests: five unequal banks, a second to make",
        "retail": "cards and payments over half a year: realistic label delays, drift at day 110, "
        "banks without devices or places",
        "instant-payments": "transfers dominate; take-overs and push-payment scams",
        "aml-mules": "mule chains through two or more banks dominate the fraud",
        "iid-control": "negative control: equal banks with plenty of fraud of their own, and no "
        "campaign at two banks, so that sharing gains nothing",
    }
)
