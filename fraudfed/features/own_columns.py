"""A consortium's own columns: read from the file, checked, and put behind the recipe's features.

Both builders take their values through ``own_feature``, so they are equal to the last bit. An own
column says something of the payment itself that was known when it was made; no window looks at it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import Float32Array, Float64Array
from fraudfed.errors import DataError
from fraudfed.features.formulas import category_codes
from fraudfed.features.table import FeatureTable
from fraudfed.wire.messages import FeatureSpec

#: What one payment has in an own column: a number, a category, or nothing.
OwnValue: TypeAlias = float | int | str | None

_LARGEST = float(np.finfo(np.float32).max)


def own_feature(spec: FeatureSpec, values: Sequence[Any] | Float64Array) -> Float32Array:
    """Return an own column as a feature; NaN is missing.

    Parameters
    ----------
    spec : FeatureSpec
    values : sequence of number or str, or None; or ndarray of shape (n_values,), dtype=float64
        None, NaN and an empty text are missing.

    Returns
    -------
    ndarray of shape (n_values,), dtype=float32
        Numbers rounded to float32, categories as codes.

    Raises
    ------
    DataError
        If a value is no number, infinite, too large for float32, not among the categories, or
        missing where the contract forbids it.
    """
    if spec.categories is not None:
        texts = [None if pd.isna(value) or value == "" else str(value) for value in values]
        feature = category_codes(spec.name, texts, spec.categories)
    else:
        try:
            numbers = np.array(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise _refused(spec, values, "numbers") from None
        if not (np.abs(numbers[~np.isnan(numbers)]) <= _LARGEST).all():
            raise _refused(spec, values, f"finite numbers within +-{_LARGEST:.8g} (float32)")
        feature = numbers.astype(np.float32)
    if not spec.nullable and np.isnan(feature).any():
        raise _refused(spec, values, "a value in every row (not nullable)")
    return feature


def own_features(
    specs: Sequence[FeatureSpec], transactions: pd.DataFrame
) -> Iterator[tuple[str, Float32Array]]:
    """Yield name and values of every own column of a table.

    Parameters
    ----------
    specs : sequence of FeatureSpec
    transactions : DataFrame
        With a column of each name: numbers, or texts (also as pandas' categories).

    Raises
    ------
    DataError
        If a column is missing, or as ``own_feature``.
    """
    for spec in specs:
        if spec.name not in transactions.columns:
            raise DataError(
                f"transactions: own column {spec.name!r} is missing, expected it in every row "
                f"({spec.description} [{spec.unit}]); add it"
            )
        series = transactions[spec.name]
        if spec.categories is None:
            yield spec.name, own_feature(spec, series.to_numpy(dtype=np.float64, na_value=np.nan))
            continue
        # A text that occurs a million times is looked up once; number -1 picks the last, nothing.
        numbers, values = pd.factorize(series)
        if (numbers < 0).any():
            yield spec.name, own_feature(spec, [*values, None])[numbers]
        else:
            yield spec.name, own_feature(spec, list(values))[numbers]


def with_own_columns(
    built: FeatureTable, specs: Sequence[FeatureSpec], transactions: pd.DataFrame
) -> FeatureTable:
    """Return a table of features with the own columns behind them.

    Parameters
    ----------
    built : FeatureTable
        Of some rows of ``transactions``, as its ``positions`` say.
    specs : sequence of FeatureSpec
    transactions : DataFrame
        As for ``own_features``.

    Raises
    ------
    DataError
        As ``own_features``.
    """
    if not specs:
        return built
    judged = transactions.iloc[built.positions]
    own = dict(own_features(specs, judged))
    schema = FeatureSchema(
        names=(*built.schema.names, *own),
        n_categories=(*built.schema.n_categories, *(len(s.categories or ()) for s in specs)),
        categories=(*built.schema.categories, *(s.categories or () for s in specs)),
    )
    values = np.concatenate([built.values.T, np.stack(list(own.values()))]).T
    return replace(built, schema=schema, values=values)


def own_row(
    specs: Sequence[FeatureSpec], values: Mapping[str, OwnValue], *, transaction_id: str
) -> Float32Array:
    """Return the own columns of one payment.

    Parameters
    ----------
    specs : sequence of FeatureSpec
    values : mapping of str to number, str or None
        By name; one that is left out is missing.
    transaction_id : str
        For the error text.

    Returns
    -------
    ndarray of shape (n_specs,), dtype=float32

    Raises
    ------
    DataError
        If there is a value of another name, or as ``own_feature``.
    """
    names = [spec.name for spec in specs]
    unknown = sorted(values.keys() - set(names))
    if unknown:
        raise DataError(
            f"transaction {transaction_id!r}: own column {unknown[0]!r} is not in the contract, "
            f"expected some of {', '.join(names) or 'none'}; mend the name"
        )
    row = [own_feature(spec, [values.get(spec.name)]) for spec in specs]
    return np.concatenate(row) if row else np.empty(0, dtype=np.float32)


def _refused(spec: FeatureSpec, values: Sequence[Any] | Float64Array, expected: str) -> DataError:
    wrong = next((value for value in values if not _is_fine(spec, value)), None)
    shown = "no value" if wrong is None or pd.isna(wrong) or wrong == "" else repr(wrong)[:80]
    return DataError(
        f"transactions: own column {spec.name!r}: got {shown}, expected {expected}; mend the value "
        "or leave the row out"
    )


def _is_fine(spec: FeatureSpec, value: Any) -> bool:
    if value is None or pd.isna(value) or value == "":
        return spec.nullable
    if spec.categories is not None:
        return True
    try:
        return abs(float(value)) <= _LARGEST
    except (TypeError, ValueError):
        return False
