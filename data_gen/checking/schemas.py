"""The published schemas by the kind of data set that they are for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from data_gen.checking.rules import TableSchema
from data_gen.checking.transaction_rules import TRANSACTION_SCHEMA
from data_gen.credit.schema import CREDIT_SCHEMA

SCHEMAS: Final[Mapping[str, TableSchema]] = MappingProxyType(
    {schema.kind: schema for schema in (TRANSACTION_SCHEMA, CREDIT_SCHEMA)}
)
