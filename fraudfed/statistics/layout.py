"""Which columns are counted, and in which cells: the same at every bank.

It follows from the data contract and the schema of transactions alone, never from rows.
"""

from dataclasses import dataclass
from typing import Final, Literal

from fraudfed.payments.columns import CHANNELS, COLUMNS, LABEL_COLUMNS, TIME_COLUMNS, ColumnKind
from fraudfed.statistics.shapes import SHAPES
from fraudfed.wire.messages import DataContract, FeatureType, RiskEntity, StatisticsSpec

#: Of the time of payment: hours of the day for each channel, and days of the week, in UTC.
HOURS: Final = "hour_of_day"
WEEKDAYS: Final = "day_of_week"
DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
#: Payments whose channel is not known are counted by the hour as well.
HOUR_CHANNELS: Final = (*CHANNELS, "none")
AMOUNT: Final = "amount_minor"
#: Decimal zeros that an amount ends with: amounts in whole pounds end with two.
ENDINGS: Final = "amount_minor:zeros"
#: Where these are absent, they are what the recipe or the contract says: no bank lacks them.
_IMPLIED: Final = frozenset({"direction", "currency"})
#: Features that are a raw column again.
_REPEATED: Final = frozenset({"amount", "channel", "merchant_category"})


@dataclass(frozen=True)
class Column:
    """A column and its cells.

    Attributes
    ----------
    group : {"raw", "feature", "identifier"}
        Of the raw transactions, of the contract, or the shape of identifiers.
    name : str
        Unique within the group; of a shape ``<entity>_id:<facet>``.
    cells : tuple of str, or None
        None: numbers, counted by the leading bits of their float32. Without cells only missing
        values are counted.
    entity : RiskEntity or None
        Of a shape: what is counted are distinct identifiers of this kind, else rows.
    """

    group: Literal["raw", "feature", "identifier"]
    name: str
    cells: tuple[str, ...] | None
    entity: RiskEntity | None = None


@dataclass(frozen=True)
class Layout:
    """All that a statistics run counts.

    Attributes
    ----------
    columns : tuple of Column
    entities : tuple of RiskEntity
        Whose identifiers are compared across banks.
    width : int
        Cells that the identifiers of one kind are hashed to.
    n_banks : int
        Banks of the cohort: the most that a cell can count.
    """

    columns: tuple[Column, ...]
    entities: tuple[RiskEntity, ...]
    width: int
    n_banks: int

    @classmethod
    def of(cls, contract: DataContract, spec: StatisticsSpec, *, n_banks: int) -> "Layout":
        """Return the layout of a run."""
        columns: list[Column] = []
        is_table = contract.kind == "table"
        if not is_table:
            columns += _raw_columns()
        columns += [
            Column("feature", feature.name, feature.categories or ())
            if feature.type is FeatureType.CATEGORICAL
            else Column("feature", feature.name, None)
            for feature in contract.features
            if is_table or feature.name not in _REPEATED
        ]
        entities = () if is_table else spec.entities
        for entity in entities:
            columns += [
                Column("identifier", f"{entity.value}_id:{facet}", cells, entity)
                for facet, cells in SHAPES.items()
            ]
        return cls(tuple(columns), entities, spec.width, n_banks)

    def position(self, group: str, name: str) -> int | None:
        """Return where a column is, None if it is not counted."""
        found = ((c.group, c.name) == (group, name) for c in self.columns)
        return next((index for index, same in enumerate(found) if same), None)


def _raw_columns() -> list[Column]:
    columns = []
    for column in COLUMNS:
        if column.analysis or column.name in {*TIME_COLUMNS, *LABEL_COLUMNS, *_IMPLIED}:
            continue
        if column.kind is not ColumnKind.STRING:
            columns.append(Column("raw", column.name, None))
        elif column.nullable or column.optional:
            columns.append(Column("raw", column.name, column.values or ()))
    hours = tuple(f"{channel} {hour:02}" for channel in HOUR_CHANNELS for hour in range(24))
    columns.append(Column("raw", HOURS, hours))
    columns.append(Column("raw", WEEKDAYS, DAY_NAMES))
    columns.append(Column("raw", ENDINGS, ("0", "1", "2", "3 or more")))
    return columns
