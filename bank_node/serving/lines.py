"""Lines of a file that are made of a bank's rows: read at once, piece by piece, or on a cluster.

Law: put together, the lines are the same whichever way they were made, in the order of the rows.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from bank_node.data.contract import load_features, load_scoring_rows, open_rows
from bank_node.data.spread_lines import LinesOf, spread_lines
from bank_node.data.spread_payments import can_spread
from bank_node.data.streamed import Bounded, stream_built_rows, stream_scoring_rows
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger(__name__)


def lines_of(
    data: Location,
    contract: DataContract,
    make: LinesOf,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    bounded: Bounded | None = None,
    cluster: "Client | None" = None,
) -> Iterator[pa.Table]:
    """Yield the lines of all rows, some rows after others.

    Parameters
    ----------
    data : Location
    contract : DataContract
    make : callable
        Makes lines of some rows: a ``FeatureTable`` of transactions, ``ScoringRows`` of a plain
        table. Travels to the workers of a cluster.
    mapping, shared
        As ``load_scoring_rows``.
    bounded : Bounded or None
        None reads all rows into memory.
    cluster : Client or None
        Workers that read the rows, where they see them and can build them.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_scoring_rows``. Of what is yielded nothing is to be kept then.
    StateError
        If there is no room on disk for rows that do not fit into memory.
    ClusterError
        If a cluster that was asked for has gone.
    """
    if cluster is not None:
        file = open_rows(data, contract, mapping)
        if can_spread(data, file, contract, mapping):
            yield from spread_lines(cluster, file, contract, mapping, shared=shared, make=make)
            return
        _log.warning(
            "%s: these rows are read and worked on in this program, the workers cannot", file.name
        )
    if contract.kind == "transactions":
        if bounded is None:
            yield make(load_features(data, contract, mapping=mapping, shared=shared))
            return
        for some in stream_built_rows(data, contract, bounded, mapping=mapping, shared=shared):
            if some.built.n_rows:
                yield make(some.built)
        return
    if bounded is None:
        yield make(load_scoring_rows(data, contract, mapping=mapping))
        return
    for rows in stream_scoring_rows(data, contract, bounded, mapping=mapping):
        yield make(rows)
