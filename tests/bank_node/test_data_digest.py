"""The digest of the training rows: the same for the same rows, another for any others."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.data.digest import JudgedDigest, RowsDigest, data_digest
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes


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


def judged(table: TrainingTable, chosen, *, named: bool, codes: int = 1) -> JudgedRows:
    places = np.arange(table.n_rows, dtype=np.int64)
    return JudgedRows(
        schema=table.schema,
        features=table.features[chosen],
        outcomes=Outcomes(
            labels=table.labels[chosen],
            is_blocked=(places % 3 == 0)[chosen],
            event_time=places[chosen] if named else None,
            customers=(places // 2 * codes)[chosen] if named else None,
            accounts=np.where(places % 5 == 0, -1, places % 4 * codes)[chosen] if named else None,
        ),
        max_weight=table.max_weight,
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(1, 30), named=st.booleans())
def test_of_judged_rows_neither_order_division_nor_numbering_counts(data, rows, named) -> None:
    table = make_table(rows)
    order = np.array(data.draw(st.permutations(range(rows))))
    ends = sorted(data.draw(st.lists(st.integers(0, rows), max_size=3)))
    whole = JudgedDigest(table.schema, max_weight=table.max_weight)
    for start, end in zip([0, *ends], [*ends, rows], strict=True):
        # Numbers as hashes are: near 2**63.
        part = judged(table, order[start:end], named=named, codes=2**55 + 1)
        whole.merge(JudgedDigest.of(part))
    expected = JudgedDigest.of(judged(table, np.arange(rows), named=named))
    assert whole.hexdigest() == expected.hexdigest()


def test_of_judged_rows_it_counts_which_share_a_customer() -> None:
    table = make_table(6)
    rows = judged(table, np.arange(6), named=True)
    other = dataclasses.replace(
        rows, outcomes=dataclasses.replace(rows.outcomes, customers=np.arange(6) % 3)
    )
    assert JudgedDigest.of(rows).hexdigest() != JudgedDigest.of(other).hexdigest()
    with pytest.raises(ValueError, match="more is known"):
        JudgedDigest.of(rows).merge(JudgedDigest.of(judged(table, np.arange(6), named=False)))


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
