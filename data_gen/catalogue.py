"""What the generator can make: the presets and the published schemas by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from data_gen.credit.config import CreditConfig
from data_gen.credit.schema import CREDIT_SCHEMA
from data_gen.schema.incoming import INCOMING_SCHEMA
from data_gen.schema.rules import TableSchema
from data_gen.schema.transactions import TRANSACTION_SCHEMA
from data_gen.settings.config import WorldConfig
from data_gen.settings.presets import PRESET_PURPOSES, PRESETS

#: Schemas by the kind of data set, or of table, that they describe.
SCHEMAS: Final[Mapping[str, TableSchema]] = MappingProxyType(
    {schema.kind: schema for schema in (TRANSACTION_SCHEMA, CREDIT_SCHEMA, INCOMING_SCHEMA)}
)
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
