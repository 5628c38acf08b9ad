"""What a store needs of each row of a table, as records under the keys that they belong to."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bank_node.serving.store.filling.spill import KEY, Records, Spill
from bank_node.serving.store.packing import NO_TIME
from fraudfed.catalogue.inbound import OUTFLOW_CHANNELS
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.arrivals import ArrivalFeatures
from fraudfed.features.formulas import fraud_counts_from
from fraudfed.features.history import CREDIT, OTHER, OUTFLOW
from fraudfed.payments.columns import INBOUND

#: Stands for no identifier.
NOBODY_KEY = np.zeros(1, KEY)[0]

PAYMENT = np.dtype(
    [("key", KEY), ("met", KEY, (2,)), ("time", "<u4"), ("amount", "<i8"), ("kind", "u1")]
)
REPORT = np.dtype([("key", KEY), ("payment", KEY), ("since", "<u4"), ("own", "u1")])
#: ``since`` is ``NO_TIME`` where there is no report.
PLAIN = np.dtype([("key", KEY), ("time", "<u4"), ("since", "<u4")])
LINKED = np.dtype([("key", KEY), ("customer", KEY), ("time", "<u4"), ("since", "<u4")])


def place_type(width: int) -> "np.dtype[np.void]":
    """Return the record of a place whose identifier has so many bytes of UTF-8 at most."""
    return np.dtype(
        [
            ("key", KEY),
            ("time", "<u4"),
            ("latitude", "<f8"),
            ("longitude", "<f8"),
            ("name", f"S{width}"),
        ]
    )


@dataclass(frozen=True)
class Counted:
    """A kind of entity: under which name it is spilled, and what it remembers.

    Attributes
    ----------
    name : str
    counts_payments, is_linked : bool
        Whether it knows its payments, and the customer's one before each.
    """

    name: str
    counts_payments: bool = True
    is_linked: bool = False

    @property
    def dtype(self) -> "np.dtype[np.void]":
        """Of its records."""
        return LINKED if self.is_linked else PLAIN


_CARD = (Counted("terminal"), Counted("merchant"), Counted("payee", is_linked=True))
_INBOUND = (
    Counted("payee"),
    Counted("payer", is_linked=True),
    Counted("reported", counts_payments=False),
)


@dataclass
class Recorder:
    """Turns tables into records.

    Attributes
    ----------
    builder : ArrivalFeatures
    spill : Spill
    n_payments : int
        That count for the recipe.
    latest : int
        Latest second of them; 0: none.
    """

    builder: ArrivalFeatures
    spill: Spill
    n_payments: int = 0
    latest: int = 0
    place_widths: set[int] = field(default_factory=set)

    @property
    def entities(self) -> tuple[Counted, ...]:
        """What the recipe counts payments and frauds by."""
        return _CARD if self.builder.recipe == RECIPE else _INBOUND

    def add(self, table: pd.DataFrame) -> None:
        """Add rows that ``check_transactions`` accepts, amounts in the contract's currency.

        Raises
        ------
        DataError
            If a time is of 2106 or later.
        OSError
            If the records cannot be written.
        """
        is_card = self.builder.recipe == RECIPE
        inbound = np.zeros(len(table), dtype=np.bool_)
        if "direction" in table.columns:
            inbound = (table["direction"] == INBOUND).fillna(False).to_numpy(dtype=np.bool_)
        if is_card and inbound.any():
            table, inbound = table[~inbound], np.zeros(int((~inbound).sum()), dtype=np.bool_)
        if table.empty:
            return
        time = table["event_time"].to_numpy(dtype=np.int64)
        if int(time.max()) >= NO_TIME:
            raise DataError(
                f"transactions: event_time {int(time.max())} is of 2106 or later, expected "
                "seconds since 1970; mend the times"
            )
        self.n_payments += time.size
        self.latest = max(self.latest, int(time.max()))
        customer = self._keys(table, "customer", "customer_id")
        since = self._reports(table, time, customer, inbound)
        everything = np.ones(time.size, dtype=np.bool_)
        kind = np.full(time.size, OTHER, dtype=np.uint8)
        if is_card:
            payee = self._keys(table, "payee", "payee_id")
            met = (payee, self._keys(table, "device", "device_id"))
            counted = (
                self._keys(table, "terminal", "terminal_id"),
                self._keys(table, "merchant", "merchant_id"),
                payee,
            )
            rows = (everything, everything, everything)
            self._places(table, time, customer)
        else:
            leaves = everything
            if "channel" in table.columns:
                channel = table["channel"]
                leaves = (channel.isna() | channel.isin(OUTFLOW_CHANNELS)).to_numpy(np.bool_)
            kind = np.where(inbound, CREDIT, np.where(leaves, OUTFLOW, OTHER)).astype(np.uint8)
            payer = self._keys(table, "payer", "payer_id")
            payer[~inbound] = NOBODY_KEY
            met = (payer, np.zeros(time.size, KEY))
            counted = (
                self._keys(table, "payee", "payee_id"),
                payer,
                self._keys(table, "reported", "payee_id"),
            )
            # Of payments that were made, only the frauds are heard of.
            rows = (inbound, inbound, ~inbound & (since != NO_TIME))
        payments = np.empty(time.size, PAYMENT)
        payments["key"], payments["time"], payments["kind"] = customer, time, kind
        payments["met"][:, 0], payments["met"][:, 1] = met
        payments["amount"] = table["amount_minor"].to_numpy(dtype=np.int64)
        self.spill.add("customer", payments)
        for entity, keys, wanted in zip(self.entities, counted, rows, strict=True):
            there = wanted & (keys != NOBODY_KEY)
            records = np.empty(int(there.sum()), entity.dtype)
            records["key"], records["time"] = keys[there], time[there]
            records["since"] = since[there]
            if entity.is_linked:
                records["customer"] = customer[there]
            self.spill.add(entity.name, records)

    def _keys(self, table: pd.DataFrame, kind: str, column: str) -> Records:
        if column not in table.columns:
            return np.zeros(len(table), KEY)
        codes, names = pd.factorize(table[column])
        key_of = self.builder.key_of
        keys = b"".join([key_of(kind, str(name)) for name in names.tolist()])
        # The last is what number -1, no value, picks.
        return np.frombuffer(keys + bytes(NOBODY_KEY.nbytes), dtype=KEY)[codes]

    def _reports(
        self, table: pd.DataFrame, time: Int64Array, customer: Records, inbound: BoolArray
    ) -> Int64Array:
        """Add the reports, and return from when each row's counts; ``NO_TIME``: none."""
        since = np.full(time.size, NO_TIME, dtype=np.int64)
        if not {"is_fraud", "label_time"} <= set(table.columns):
            return since
        fraud = (table["is_fraud"] == 1).fillna(False).to_numpy(dtype=np.bool_)
        known = table["label_time"][fraud].to_numpy(dtype=np.int64)
        since[fraud] = fraud_counts_from(
            time[fraud], known, delay_seconds=self.builder.delay_seconds
        )
        rows = np.flatnonzero(fraud)
        if rows.size and int(since[rows].max()) >= NO_TIME:
            raise DataError(
                f"transactions: a report counts from {int(since[rows].max())}, 2106 or later, "
                "expected seconds since 1970; mend label_time"
            )
        records = np.empty(rows.size, REPORT)
        names = table["transaction_id"].iloc[rows].tolist()
        keys = b"".join([self.builder.key_of("transaction", str(name)) for name in names])
        records["key"], records["since"] = customer[rows], since[rows]
        records["payment"], records["own"] = np.frombuffer(keys, KEY), ~inbound[rows]
        self.spill.add("report", records)
        return since

    def _places(self, table: pd.DataFrame, time: Int64Array, customer: Records) -> None:
        if not {"latitude", "longitude"} <= set(table.columns):
            return
        placed = table[["latitude", "longitude"]].notna().all(axis=1).to_numpy(np.bool_)
        rows = np.flatnonzero(placed)
        if rows.size == 0:
            return
        names = [str(name).encode() for name in table["transaction_id"].iloc[rows].tolist()]
        width = 8
        while width < max(map(len, names)):
            width *= 2
        records = np.empty(rows.size, place_type(width))
        records["key"], records["time"], records["name"] = customer[rows], time[rows], names
        for name in ("latitude", "longitude"):
            records[name] = table[name].iloc[rows].to_numpy(dtype=np.float64)
        self.place_widths.add(width)
        self.spill.add(f"place{width}", records)
