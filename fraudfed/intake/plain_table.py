"""A table of features out of a file, as its data contract wants it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import Float32Array
from fraudfed.reading.columns import categorical_feature, labels, numeric_feature, weights
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems
from fraudfed.wire.messages import DataContract, FeatureType


@dataclass(frozen=True, eq=False)
class PlainRows:
    """Rows of a plain table.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features), dtype=float32
        In the order of the contract; categories as codes, NaN is missing. Column-major.
    labels, weights : ndarray of shape (n_rows,), dtype=float32, or None
        None where they were not asked for, or the contract has none.
    extra : Arrow table
        Further columns that were asked for.
    """

    features: Float32Array
    labels: Float32Array | None
    weights: Float32Array | None
    extra: pa.Table = field(repr=False)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.features)


def read_plain_table(
    file: DataFile,
    contract: DataContract,
    problems: Problems,
    *,
    with_labels: bool,
    extra: Mapping[str, pa.DataType] | None = None,
    check_extra: Callable[[pa.Table], object] = lambda _found: None,
) -> PlainRows:
    """Read and check the columns of a contract, and nothing else.

    Parameters
    ----------
    file : DataFile
    contract : DataContract
        Of a plain table.
    problems : Problems
        Of the file; what is added is raised with what was there.
    with_labels : bool
        Whether label and weight are needed; else they are not read.
    extra : mapping of str to Arrow type, or None
        Further columns, as ``DataFile.read`` takes them; each is in the file once.
    check_extra : callable
        Is shown what was read, and may add problems.

    Raises
    ------
    DataError
        With every problem of the file: a column that is missing or there twice, a value that is
        not what the contract allows.
    """
    types = feature_types(file, contract, problems)
    needed = ((contract.label, "label"), (contract.weight, "weight")) if with_labels else ()
    for name, purpose in needed:
        if name is not None and file.require(name, purpose, problems):
            types[name] = pa.float64()
    types |= {name: kind for name, kind in (extra or {}).items() if name not in types}
    if not types:
        problems.raise_any()
    found = file.read(types)
    features = read_features(file, contract, found, problems)
    row_labels = row_weights = None
    problems.begin(2)
    if with_labels and contract.label in types:
        row_labels = labels(file, contract.label, found[contract.label], problems)
    problems.begin(3)
    if with_labels:
        row_weights = read_weights(file, contract, found, problems)
    check_extra(found)
    problems.raise_any()
    return PlainRows(features, row_labels, row_weights, found.select(list(extra or {})))


def feature_types(
    file: DataFile, contract: DataContract, problems: Problems
) -> dict[str, pa.DataType]:
    """Return how the features that are in the file are read; the others are problems.

    Parameters
    ----------
    file : DataFile
    contract : DataContract
    problems : Problems
    """
    return {
        spec.name: pa.float64() if spec.type is FeatureType.NUMERIC else pa.string()
        for spec in contract.features
        if file.require(spec.name, f"{spec.type.value} feature", problems)
    }


def read_features(
    file: DataFile, contract: DataContract, found: pa.Table, problems: Problems
) -> Float32Array:
    """Convert feature by feature; stored column by column, as binning reads it.

    Parameters
    ----------
    file : DataFile
    contract : DataContract
    found : Arrow table of shape (n_rows, ...)
        A feature that is not there is NaN.
    problems : Problems

    Returns
    -------
    ndarray of shape (n_rows, n_features), dtype=float32
    """
    values = np.empty((len(contract.features), found.num_rows), dtype=np.float32)
    for place, (row, spec) in enumerate(zip(values, contract.features, strict=True)):
        problems.begin(1, place)
        if spec.name not in found.column_names:
            row[:] = np.nan
        elif spec.type is FeatureType.NUMERIC:
            row[:] = numeric_feature(
                file, spec.name, found[spec.name], problems, nullable=spec.nullable
            )
        else:
            row[:] = categorical_feature(
                file,
                spec.name,
                found[spec.name],
                problems,
                categories=spec.categories or (),
                nullable=spec.nullable,
            )
    return values.T


def read_weights(
    file: DataFile, contract: DataContract, found: pa.Table, problems: Problems
) -> Float32Array | None:
    """Return the weights of rows, None where there are none.

    Parameters
    ----------
    file : DataFile
    contract : DataContract
    found : Arrow table of shape (n_rows, ...)
    problems : Problems

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32, or None
    """
    name = contract.weight
    if name is None or name not in found.column_names:
        return None
    return weights(file, name, found[name], problems, max_weight=contract.max_weight)


def contract_schema(contract: DataContract) -> FeatureSchema:
    """Return the contract's features as training needs them."""
    return FeatureSchema(
        names=tuple(spec.name for spec in contract.features),
        n_categories=tuple(len(spec.categories or ()) for spec in contract.features),
        categories=tuple(spec.categories or () for spec in contract.features),
    )


def declared_edges(contract: DataContract) -> dict[str, Float32Array]:
    """Return the cuts that a contract declares, by feature; ascending."""
    return {
        spec.name: np.array(spec.cuts, dtype=np.float32)
        for spec in contract.features
        if spec.cuts is not None
    }
