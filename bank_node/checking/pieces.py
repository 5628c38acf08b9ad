"""Payments checked piece by piece, in bounded memory: what ``check-data`` says of all at once.

The data are read three times: once for what is wrong, which is all told, and if nothing is, twice
to build features (``bank_node.data.streamed``). Kept in memory are a piece, a bucket, and of each
known fraud its times, names, kind and channel.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bank_node.checking.facts import BuiltFacts, Facts
from bank_node.data.contract import open_rows
from bank_node.data.contract_terms import known_frauds
from bank_node.data.looks.look import Reading
from bank_node.data.looks.pieces import check_problems
from bank_node.data.row_warnings import row_warnings
from bank_node.data.streamed import (
    Bounded,
    BuiltRows,
    Gathered,
    stream_built_rows,
    stream_windows,
)
from fraudfed.catalogue.run_check import contract_recipe
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import FeatureTable
from fraudfed.intake.transactions import RawTransactions
from fraudfed.intake.windows import Windows
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract

_NOTHING: Final = pa.table({})


def check_payments(
    location: Location,
    contract: DataContract,
    bounded: Bounded,
    *,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> tuple[Facts, tuple[str, ...]]:
    """Check payments to train on; return what ``load_training_rows`` knows of them, and warnings.

    Parameters
    ----------
    location, contract, mapping, shared
        As ``load_training_rows``, which raises what this does.
    bounded : Bounded
    """
    file = open_rows(location, contract, mapping)
    check_problems(file, Reading(mapping, contract, for_training=True), bounded)
    gathered, pieces, parts = Gathered(), list[BuiltRows](), list[Facts]()
    for windows in stream_windows(
        location,
        contract,
        bounded,
        mapping=mapping,
        shared=shared,
        gathered=gathered,
        watch=pieces.append,
    ):
        piece = pieces.pop()
        parts.append(payment_facts(windows, piece.rows, piece.built, contract))
    facts = Facts.together(parts)
    absent = [name for name in gathered.absent if name not in contract_recipe(contract).unused]
    return facts, warnings_of(file.name, facts, contract, absent=absent, more=gathered.warnings)


def payment_facts(
    windows: Windows, rows: pd.DataFrame, built: FeatureTable, contract: DataContract
) -> Facts:
    """Count some payments.

    Parameters
    ----------
    windows : Windows
    rows : DataFrame
        All of the part.
    built : FeatureTable
        Of those in the recipe and the population.
    contract : DataContract
    """
    everybody = np.ones(built.n_rows, dtype=np.bool_)
    return Facts.of_windows(
        windows,
        rows_read=len(rows),
        population=None if contract.population is None else built.n_rows,
        frauds=known_frauds(RawTransactions(rows, _NOTHING), built, everybody),
    )


def warnings_of(
    source: str,
    facts: Facts,
    contract: DataContract,
    *,
    absent: Sequence[str] = (),
    more: Sequence[str] = (),
) -> tuple[str, ...]:
    """Log and return what is unusual of rows, as ``load_training_rows`` does.

    Parameters
    ----------
    source : str
    facts : Facts
    contract : DataContract
    absent, more
        As for ``row_warnings``.
    """
    return row_warnings(
        source,
        facts.counts,
        [spec.name for spec in contract.features],
        n_rows=facts.rows,
        labels_seen=facts.labels_seen,
        n_missing=facts.n_missing.tolist(),
        absent=absent,
        more=more,
    )


def check_unlabelled(
    location: Location,
    contract: DataContract,
    bounded: Bounded,
    *,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> BuiltFacts:
    """Check payments to be scored; raises as ``load_features``.

    Parameters
    ----------
    location, contract, mapping, shared
        As ``load_features``.
    bounded : Bounded
    """
    file = open_rows(location, contract, mapping)
    check_problems(file, Reading(mapping, contract), bounded)
    pieces = stream_built_rows(location, contract, bounded, mapping=mapping, shared=shared)
    return BuiltFacts.together([BuiltFacts.of(each.built, contract) for each in pieces])
