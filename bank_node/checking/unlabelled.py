"""What ``check-data`` says of data without labels, such as payment messages: fit to be scored."""

import numpy as np

from bank_node.checking.report import CheckedData, MissingValues
from bank_node.data.contract import load_features
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract


def has_no_labels(mapping: Mapping | None) -> bool:
    """Tell whether a mapping is of transactions and says nothing of labels."""
    return mapping is not None and mapping.kind == "transactions" and not mapping.has_labels


def checked_without_labels(
    path: Location, contract: DataContract, *, mapping: Mapping | None, shared: SharedRisk | None
) -> CheckedData:
    """Check transactions as for scoring, and count what their features miss.

    Parameters
    ----------
    path : Path
    contract : DataContract
        Of kind ``transactions``.
    mapping : Mapping or None
    shared : SharedRisk or None
        Risk tables, for a contract that needs them.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_features``.
    """
    built = load_features(path, contract, mapping=mapping, shared=shared)
    counts = np.count_nonzero(np.isnan(built.values), axis=0).tolist()
    missing = dict(zip(built.names, counts, strict=True))
    return CheckedData(
        path=str(path),
        rows_read=built.n_rows,
        rows=0,
        period=(int(built.event_time.min()), int(built.event_time.max())),
        features=tuple(
            MissingValues(
                feature=spec.name,
                missing=missing[spec.name],
                share=missing[spec.name] / built.n_rows,
            )
            for spec in contract.features
        ),
        warnings=(
            "the mapping says nothing of labels: the rows can be scored, and not trained on",
        ),
    )
