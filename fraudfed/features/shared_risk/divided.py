"""A bank's payments divided so that each part can be counted by itself; see ``counting``.

Law: the counts of all buckets, put together, are those of all payments, whatever the number of
buckets and the pieces in which the payments came, as long as places ascend.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.features.by_key.buckets import bucket_numbers, rows_by_bucket
from fraudfed.features.shared_risk.counting import Counted, RiskRows, count_rows
from fraudfed.wire.messages import RiskEntity, RiskSpec

_KEY: Final = "key"
_CUSTOMER: Final = "customer"


@dataclass(frozen=True)
class Division:
    """One way to divide payments.

    Attributes
    ----------
    entities : tuple of RiskEntity
        That are counted of the buckets.
    by_customer : bool
        Whether all payments of a customer are in one bucket; else all of an identifier of the one
        entity.
    """

    entities: tuple[RiskEntity, ...]
    by_customer: bool = False

    @classmethod
    def of(cls, spec: RiskSpec, *, bounded: bool) -> "tuple[Division, ...]":
        """Return the divisions that a run's counts need.

        Parameters
        ----------
        spec : RiskSpec
        bounded : bool
            Whether each customer's payments are bounded.
        """
        if bounded:
            return (cls(spec.entities, by_customer=True),)
        return tuple(cls((entity,)) for entity in spec.entities)

    @property
    def schema(self) -> pa.Schema:
        """The columns of a bucket."""
        numbers = [(name, pa.int64()) for name in ("places", "event_day", "fraud_day")]
        texts = [(name, pa.string()) for name in (_CUSTOMER, *self.entities)]
        return pa.schema([*numbers, ("is_fraud", pa.bool_()), *texts])

    def divide(self, rows: RiskRows, *, n_buckets: int) -> list[pa.Table]:
        """Return some payments by bucket.

        Parameters
        ----------
        rows : RiskRows
        n_buckets : int
        """
        nobody = pd.Series([None] * rows.places.size, dtype=object)
        names = {each: rows.identifiers.get(each, nobody) for each in self.entities}
        key = rows.customers if self.by_customer else names[self.entities[0]]
        numbers = bucket_numbers(key.to_frame(_KEY), _KEY, n_buckets=n_buckets)
        texts = [rows.customers, *names.values()]
        columns = [
            *(pa.array(each) for each in (rows.places, rows.event_day, rows.fraud_day)),
            pa.array(rows.is_fraud),
            *(
                pa.array(each.to_numpy(dtype=object), pa.string(), from_pandas=True)
                for each in texts
            ),
        ]
        whole = pa.table(columns, schema=self.schema)
        return [
            whole.take(pa.array(these)) for these in rows_by_bucket(numbers, n_buckets=n_buckets)
        ]

    def count(
        self, bucket: pa.Table, spec: RiskSpec, *, draw: np.random.Generator | None = None
    ) -> Counted:
        """Count a bucket.

        Parameters
        ----------
        bucket : Arrow table
            Of ``divide``: of all pieces, in their order.
        spec : RiskSpec
        draw : Generator or None
            As for ``count_rows``, for a division by customer.
        """
        found = bucket.to_pandas()
        rows = RiskRows(
            places=found["places"].to_numpy(dtype=np.int64),
            event_day=found["event_day"].to_numpy(dtype=np.int64),
            fraud_day=found["fraud_day"].to_numpy(dtype=np.int64),
            is_fraud=found["is_fraud"].to_numpy(dtype=np.bool_),
            customers=found[_CUSTOMER],
            identifiers={entity: found[entity] for entity in self.entities},
        )
        return count_rows(rows, spec, draw=draw)
