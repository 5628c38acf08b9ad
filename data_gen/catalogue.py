"""All presets by name, of transactions and of credit applications, with what each is for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from data_gen.config import WorldConfig
from data_gen.credit.config import CreditConfig
from data_gen.presets import PRESET_PURPOSES, PRESETS

ALL_PRESETS: Final[Mapping[str, WorldConfig | CreditConfig]] = MappingProxyType(
    {**PRESETS, "credit": CreditConfig()}
)
PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **PRESET_PURPOSES,
        "credit": "credit applications with defaults as labels; scoring people's "
        "creditworthiness is a high-risk use under the EU AI Act",
    }
)
