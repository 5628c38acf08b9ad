"""Check a bank's data against a contract: in memory, piece by piece, or on a cluster's workers.

Law: the report is the same wherever the rows are looked at, whatever the pieces and parts.
"""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bank_node.checking.facts import BuiltFacts, Facts
from bank_node.checking.pieces import check_payments, check_unlabelled
from bank_node.checking.report import CheckedData, checked_data
from bank_node.checking.unlabelled import checked_without_labels
from bank_node.data.contract import load_features, load_training_rows, open_rows
from bank_node.data.spread_payments import can_spread
from bank_node.data.streamed import Bounded, bounded_rows
from bank_node.data.streamed_table import stream_training_rows
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.streamed import bytes_in_memory
from fraudfed.reading.location import Location
from fraudfed.reading.partitioned import PartitionedFile
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Where:
    """Where rows are looked at.

    Attributes
    ----------
    memory_limit : int
        Bytes of this process.
    cluster : Client or None
        Of Dask; None is this machine.
    """

    memory_limit: int
    cluster: "Client | None" = None


def check_rows(
    data: Location,
    contract: DataContract,
    where: Where,
    *,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> CheckedData:
    """Check rows to train on.

    Parameters
    ----------
    data, contract, mapping, shared
        As for ``load_training_rows``, which raises what this does.
    where : Where

    Raises
    ------
    ProblemsError
        With every problem of the data.
    DataError, ConfigurationError
        As ``load_training_rows``.
    StateError
        If there is no room on disk.
    ClusterError
    """
    facts, warnings = _facts(data, contract, where, mapping=mapping, shared=shared)
    checked = checked_data(data, facts, contract, warnings=warnings)
    file = open_rows(data, contract, mapping)
    files = len(file.files) if isinstance(file, PartitionedFile) else None
    return checked.model_copy(update={"files": files})


def check_without_labels(
    data: Location,
    contract: DataContract,
    where: Where,
    *,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> CheckedData:
    """Check transactions as for scoring, and count what their features miss.

    Parameters
    ----------
    data, contract, mapping, shared
        As for ``load_features``.
    where : Where

    Raises
    ------
    DataError, ConfigurationError, StateError, ClusterError
        As ``check_rows``.
    """
    if _spreads(data, contract, where, mapping):
        # Only for those that use a cluster.
        from bank_node.checking.spread import spread_unlabelled

        facts = spread_unlabelled(where.cluster, data, contract, mapping=mapping, shared=shared)
        return checked_without_labels(data, contract, facts)
    bounded = _bounded(data, contract, where, mapping)
    if bounded is None:
        built = load_features(data, contract, mapping=mapping, shared=shared)
        facts = BuiltFacts.of(built, contract)
    else:
        facts = check_unlabelled(data, contract, bounded, mapping=mapping, shared=shared)
    return checked_without_labels(data, contract, facts)


def _facts(
    data: Location,
    contract: DataContract,
    where: Where,
    *,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> tuple[Facts, tuple[str, ...]]:
    file = open_rows(data, contract, mapping)
    if _spreads(data, contract, where, mapping):
        from bank_node.checking.spread import spread_checked, spread_table

        if contract.kind == "table":
            return spread_table(where.cluster, file, contract)
        return spread_checked(where.cluster, file, contract, mapping=mapping, shared=shared)
    if contract.kind == "table":
        if bytes_in_memory(file, len(contract.features)) > where.memory_limit:
            streamed = stream_training_rows(
                data, contract, mapping=mapping, memory_limit=where.memory_limit
            )
            return Facts.of_streamed(streamed), streamed.warnings
    else:
        bounded = _bounded(data, contract, where, mapping)
        if bounded is not None:
            return check_payments(data, contract, bounded, mapping=mapping, shared=shared)
    rows = load_training_rows(data, contract, mapping=mapping, shared=shared)
    return Facts.of_rows(rows), rows.warnings


def _spreads(data: Location, contract: DataContract, where: Where, mapping: Mapping | None) -> bool:
    if where.cluster is None:
        return False
    file = open_rows(data, contract, mapping)
    if can_spread(data, file, contract, mapping):
        return True
    _log.warning(
        "%s: these rows are read and worked on in this program, the workers cannot", file.name
    )
    return False


def _bounded(
    data: Location, contract: DataContract, where: Where, mapping: Mapping | None
) -> Bounded | None:
    return bounded_rows(
        data,
        contract,
        mapping=mapping,
        memory_limit=where.memory_limit,
        directory=Path(tempfile.gettempdir()),
    )
