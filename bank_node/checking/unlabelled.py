"""What ``check-data`` says of data without labels, such as payment messages: fit to be scored."""

from bank_node.checking.facts import BuiltFacts
from bank_node.checking.report import CheckedData, MissingValues
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract


def has_no_labels(mapping: Mapping | None) -> bool:
    """Tell whether a mapping is of transactions and says nothing of labels."""
    return mapping is not None and mapping.kind == "transactions" and not mapping.has_labels


def checked_without_labels(
    path: Location, contract: DataContract, facts: BuiltFacts
) -> CheckedData:
    """Return what is worth knowing about transactions that can be scored.

    Parameters
    ----------
    path : Location
    contract : DataContract
        Of kind ``transactions``.
    facts : BuiltFacts
    """
    return CheckedData(
        path=str(path),
        rows_read=facts.rows,
        rows=0,
        period=(facts.first, facts.last),
        features=tuple(
            MissingValues(feature=spec.name, missing=missing, share=missing / facts.rows)
            for spec, missing in zip(contract.features, facts.n_missing.tolist(), strict=True)
        ),
        warnings=(
            "the mapping says nothing of labels: the rows can be scored, and not trained on",
        ),
    )
