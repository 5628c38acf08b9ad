"""Single columns, from Arrow to float32, checked against the data contract."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bank_node.data.file import DataFile
from fraudfed.dtypes import BoolArray, Float32Array, Float64Array
from fraudfed.errors import DataError
from fraudfed.features.source_column import shortened
from fraudfed.wire.messages import FeatureSpec


def numeric_feature(file: DataFile, spec: FeatureSpec, column: pa.ChunkedArray) -> Float32Array:
    """Return a numeric feature; NaN is missing.

    Raises
    ------
    DataError
        If the column is no number column, or a value is infinite, too large for float32, or
        missing where the contract forbids it.
    """
    values = _numbers(file, spec.name, column)
    _refuse(file, spec.name, values, np.isinf(values), "a finite number or nothing (missing)")
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    limit = float(np.finfo(np.float32).max)
    too_large = np.isinf(narrowed)
    _refuse(file, spec.name, values, too_large, f"a number within +-{limit:.8g} (float32)")
    if not spec.nullable:
        _refuse(file, spec.name, values, np.isnan(values), "a number (not nullable)")
    return narrowed


def categorical_feature(file: DataFile, spec: FeatureSpec, column: pa.ChunkedArray) -> Float32Array:
    """Return a categorical feature as codes; NaN is missing.

    Raises
    ------
    DataError
        If the column is no text, a value is not among the categories, or missing where the
        contract forbids it.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise _wrong_type(file, spec.name, kind, "text (a category)")
    text = column.cast(pa.large_string())
    categories = pa.array(spec.categories, pa.large_string())
    # Neither null nor empty text has a code: both are missing.
    codes = pc.index_in(text, value_set=categories).cast(pa.float32())
    missing = pc.or_(pc.is_null(text), pc.equal(pc.fill_null(text, ""), ""))
    unknown = pc.and_(pc.is_null(codes), pc.invert(missing)).to_numpy().astype(np.bool_)
    allowed = f"one of {', '.join(spec.categories or ())}"
    if unknown.any():
        row = int(np.argmax(unknown))
        raise _violation(file, spec.name, row, repr(text[row].as_py()), shortened(allowed))
    result: Float32Array = codes.to_numpy().astype(np.float32, copy=False)
    if not spec.nullable:
        _refuse(file, spec.name, result, np.isnan(result), shortened(allowed))
    return result


def labels(file: DataFile, name: str, column: pa.ChunkedArray) -> Float32Array:
    """Return labels, 0 or 1; raises DataError for anything else."""
    values = _numbers(file, name, column)
    _refuse(file, name, values, ~np.isin(values, (0.0, 1.0)), "0 or 1 (the label)")
    return values.astype(np.float32)


def weights(
    file: DataFile, name: str, column: pa.ChunkedArray, *, max_weight: float
) -> Float32Array:
    """Return weights in (0, max_weight]; raises DataError for anything else."""
    values = _numbers(file, name, column)
    narrowed = values.astype(np.float32)
    # Compared after rounding: what is summed is the float32.
    bad = ~((narrowed > 0) & (narrowed <= np.float32(max_weight)))
    _refuse(file, name, values, bad, f"a weight above 0 and at most {max_weight:g}")
    return narrowed


def _numbers(file: DataFile, name: str, column: pa.ChunkedArray) -> Float64Array:
    """Return a number column as float64 with NaN for null."""
    kind = column.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise _wrong_type(file, name, kind, "numbers")
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    # Not safe: an integer beyond 2^53 is rounded as every float32 feature is.
    values: Float64Array = column.cast(pa.float64(), safe=False).to_numpy()
    return values


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _refuse(
    file: DataFile,
    name: str,
    values: Float64Array | Float32Array,
    bad: BoolArray,
    expected: str,
) -> None:
    """Raise for the first row of ``bad``, if there is one."""
    if not bad.any():
        return
    row = int(np.argmax(bad))
    value = values[row]
    got = "no value" if np.isnan(value) else f"{float(value):.17g}"
    raise _violation(file, name, row, got, expected, count=int(np.count_nonzero(bad)))


def _violation(
    file: DataFile, name: str, row: int, got: str, expected: str, *, count: int = 1
) -> DataError:
    more = f" (and {count - 1} more rows)" if count > 1 else ""
    return DataError(
        f"{file.path}: {file.place(row)}, column {file.named(name)}: got {shortened(got)}, "
        f"expected {expected}{more}; correct the value or leave the row out"
    )


def _wrong_type(file: DataFile, name: str, kind: pa.DataType, expected: str) -> DataError:
    return DataError(
        f"{file.path}: column {file.named(name)} has type {kind}, expected {expected}; convert "
        "the column"
    )
