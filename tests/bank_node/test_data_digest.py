"""The digest of the training rows: the same for the same rows, another for any others."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.data.digest import RowsDigest, data_digest
from fraudfed.boosting.table import FeatureSchema, TrainingTable


def make_table(rows: int = 5, *, weights: bool = True) -> TrainingTable:
    random = np.random.default_rng(1)
    features = random.normal(size=(rows, 3)).astype(np.float32)
    features[0, 1] = np.nan
    return TrainingTable(
        schema=FeatureSchema(names=("a", "b", "c"), n_categories=(0, 0, 4)),
        features=features,
        labels=(np.arange(rows) % 2).astype(np.float32),
        weights=random.uniform(0.1, 1, rows).astype(np.float32) if weights else None,
        max_weight=1.0,
    )


@pytest.mark.parametrize("rows", [1, 5, 4096, 4097, 9000])
def test_layout_in_memory_does_not_matter(rows) -> None:
    table = make_table(rows)
    wide = np.zeros((rows, 6), dtype=np.float32)
    wide[:, ::2] = table.features
    for features in (table.features.copy(), np.asfortranarray(table.features), wide[:, ::2]):
        other = dataclasses.replace(table, features=features)
        assert data_digest(other) == data_digest(table)


def test_a_missing_value_is_a_missing_value() -> None:
    table = make_table()
    features = table.features.copy()
    features.view(np.uint32)[0, 1] = 0xFFC12345
    assert np.isnan(features[0, 1])
    assert data_digest(dataclasses.replace(table, features=features)) == data_digest(table)
    # The caller's rows are left alone.
    assert features.view(np.uint32)[0, 1] == 0xFFC12345


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(["features", "labels", "weights"]),
    place=st.integers(0, 9000 * 3 - 1),
    bit=st.integers(0, 22),
)
def test_every_bit_of_a_value_counts(name, place, bit) -> None:
    table = make_table(9000)
    changed = getattr(table, name).copy()
    place %= changed.size
    if np.isnan(changed.flat[place]):
        return
    changed.view(np.uint32).flat[place] ^= 1 << bit
    other = dataclasses.replace(table, **{name: changed})
    assert data_digest(other) != data_digest(table)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(1, 40), weights=st.booleans())
def test_neither_order_nor_division_counts(data, rows, weights) -> None:
    table = make_table(rows, weights=weights)
    order = np.array(data.draw(st.permutations(range(rows))))

    def some(chosen) -> TrainingTable:
        return dataclasses.replace(
            table,
            features=table.features[chosen],
            labels=table.labels[chosen],
            weights=None if table.weights is None else table.weights[chosen],
        )

    ends = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    whole = RowsDigest(table.schema, max_weight=table.max_weight)
    for start, end in zip([0, *ends], [*ends, rows], strict=True):
        part = RowsDigest(table.schema, max_weight=table.max_weight)
        part.add(some(order[start:end]))
        whole.merge(part)
    assert whole.n_rows == rows
    assert whole.hexdigest() == data_digest(some(order)) == data_digest(table)


def test_values_of_two_rows_that_change_places_and_rows_that_come_twice_count() -> None:
    table = make_table(7)
    swapped, twice = table.features.copy(), table.features.copy()
    swapped[[2, 3], 0] = swapped[[3, 2], 0]
    twice[2] = twice[4]
    thrice = table.features.copy()
    thrice[4] = thrice[2]
    digests = {
        data_digest(dataclasses.replace(table, features=features))
        for features in (table.features, swapped, twice, thrice)
    }
    assert len(digests) == 4


def test_shape_schema_and_bound_count() -> None:
    table = make_table()
    schema = table.schema
    others = [
        make_table(6),
        make_table(weights=False),
        dataclasses.replace(table, max_weight=2.0),
        dataclasses.replace(table, features=table.features[::-1]),
        dataclasses.replace(table, features=table.features[:, ::-1]),
        dataclasses.replace(table, labels=table.weights, weights=table.labels),
        dataclasses.replace(table, schema=FeatureSchema(("a", "b", "d"), schema.n_categories)),
        dataclasses.replace(table, schema=FeatureSchema(schema.names, (0, 0, 5))),
        dataclasses.replace(table, schema=FeatureSchema(("ab", "", "c"), schema.n_categories)),
    ]
    digests = {data_digest(each) for each in (table, *others)}
    assert len(digests) == len(others) + 1


def test_a_fixed_vector() -> None:
    # Another value would refuse every bank that an upgrade finds in the middle of a run.
    table = TrainingTable(
        schema=FeatureSchema(names=("amount", "country"), n_categories=(0, 3)),
        features=np.array([[1.5, 2], [np.nan, 0]], dtype=np.float32),
        labels=np.array([0, 1], dtype=np.float32),
    )
    assert data_digest(table) == "9aef0930ebbbc3666f11d1418652e98743039a6b27c1c1cdad4c964136c015a9"
