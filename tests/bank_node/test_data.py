"""Reading and checking a bank's file: each fault is named to the cell."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.data.contract import load_scoring_rows, load_training_rows
from fraudfed.catalogue.run_check import check_contract
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import RECIPE, build_features, contract_features
from fraudfed.intake.windows import windows_by_share
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, LabelHorizon

Edit = Callable[[pd.DataFrame], pd.DataFrame]


def write(rows: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_good_file(make_rows, contract, tmp_path, suffix) -> None:
    rows = make_rows()
    found = load_training_rows(write(rows, tmp_path / f"data{suffix}"), contract)
    table = found.table
    assert found.rows_read == table.n_rows == len(rows)
    assert found.warnings == ()
    assert table.schema.n_categories == (0, 0, 2)
    np.testing.assert_array_equal(table.features[:, 0], rows["amount"].to_numpy(np.float32))
    np.testing.assert_array_equal(table.features[:, 2], rows["channel"] == "web")
    np.testing.assert_array_equal(table.labels, rows["label"])
    assert np.isnan(table.features[5, 0]), "a missing value is no error"


def put(column: str, value: object) -> Edit:
    def edit(rows: pd.DataFrame) -> pd.DataFrame:
        rows[column] = rows[column].astype(object)
        rows.loc[6, column] = value
        return rows.infer_objects()

    return edit


@pytest.mark.parametrize(
    ("edit", "column", "messages"),
    [
        (put("age", np.nan), "age", ["got no value", "not nullable"]),
        (put("age", np.inf), "age", ["got inf", "finite"]),
        (put("amount", -np.inf), "amount", ["got -inf", "finite"]),
        (put("amount", 1e39), "amount", ["float32"]),
        (put("label", 2), "label", ["got 2", "0 or 1"]),
        (put("label", np.nan), "label", ["got no value", "0 or 1"]),
        (put("label", 0.5), "label", ["got 0.5", "0 or 1"]),
        (put("channel", "fax"), "channel", ["'fax'", "pos, web"]),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_bad_value_is_named(
    make_rows, contract, tmp_path, suffix, edit, column, messages
) -> None:
    path = write(edit(make_rows()), tmp_path / f"data{suffix}")
    with pytest.raises(DataError) as failure:
        load_training_rows(path, contract)
    text = str(failure.value)
    line = " (line 8)" if suffix == ".csv" else ""
    assert text.startswith(f"{path}: row 7{line}, column '{column}'")
    assert all(message in text for message in messages), text
    assert "\n" not in text


def test_text_among_numbers(make_rows, contract, tmp_path) -> None:
    rows = put("amount", "12,50")(make_rows())
    with pytest.raises(DataError, match=r"row 7 \(line 8\), column 'amount': got '12,50'"):
        load_training_rows(write(rows, tmp_path / "data.csv"), contract)
    rows["amount"] = rows["amount"].astype(str)
    with pytest.raises(DataError, match=r"row 7, column 'amount': got '12,50', expected a number"):
        load_training_rows(write(rows, tmp_path / "data.parquet"), contract)


def test_numbers_where_categories_are_expected(make_rows, contract, tmp_path) -> None:
    rows = make_rows().assign(channel=1.5)
    with pytest.raises(DataError, match=r"row 1, column 'channel': got 1.5, expected one of pos"):
        load_training_rows(write(rows, tmp_path / "data.parquet"), contract)


@pytest.mark.parametrize("column", ["age", "label", "channel"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_column(make_rows, contract, tmp_path, column, suffix) -> None:
    path = write(make_rows().drop(columns=column), tmp_path / f"data{suffix}")
    with pytest.raises(DataError, match=rf"column '{column}' \(.*\) is missing; the file has"):
        load_training_rows(path, contract)


def test_files_that_are_none(make_rows, contract, tmp_path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    (tmp_path / "blank.csv").write_text("\n\n")
    (tmp_path / "latin.csv").write_bytes(b"amount,age\xe9\n1,2\n")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no parquet PAR1")
    (tmp_path / "data.xlsx").write_bytes(b"PK")
    whole = write(make_rows(), tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    write(make_rows(n_rows=6).head(0), tmp_path / "header.csv")
    write(make_rows(n_rows=6).head(0), tmp_path / "header.parquet")
    for name, message in {
        "none.csv": "no such file",
        "empty.csv": "the file is empty",
        "blank.csv": "the file is empty",
        "latin.csv": "UTF-8",
        "no.parquet": "cannot be read as Parquet",
        "cut.parquet": "cannot be read as Parquet",
        "data.xlsx": "expected .csv or .parquet",
        "header.csv": "has a header and no rows",
        "header.parquet": "has a header and no rows",
    }.items():
        with pytest.raises(DataError, match=message) as failure:
            load_training_rows(tmp_path / name, contract)
        assert str(failure.value).startswith(f"{tmp_path / name}: ")
    with pytest.raises(DataError, match="a directory"):
        load_training_rows(tmp_path, contract)


def test_rows_of_csv_that_are_cut_off(contract, tmp_path) -> None:
    path = tmp_path / "data.csv"
    head = 'amount,age,channel,label,note\n1,20,pos,0,"two\nlines"\n\n'
    path.write_text(head + "2,30,web\n")
    with pytest.raises(DataError, match=r"row 2 \(line 5\): got 3 fields, expected 5"):
        load_training_rows(path, contract)
    path.write_text(head + "2,30,web,1,x\n3,x,web,1,y\n")
    with pytest.raises(DataError, match=r"row 3 \(line 6\), column 'age': got 'x'"):
        load_training_rows(path, contract)
    path.write_bytes(head.encode() + b"2,30,w\xe9b,1,x\n")
    with pytest.raises(DataError, match="UTF-8"):
        load_training_rows(path, contract)
    path.write_text(head + "2,30,web,1,x\n")
    assert load_training_rows(path, contract).table.n_rows == 2


def test_a_column_that_occurs_twice(contract, tmp_path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("amount,age,channel,label,age\n1,20,pos,0,3\n")
    with pytest.raises(DataError, match="'age' occurs 2 times"):
        load_training_rows(path, contract)


def test_one_class_at_one_bank_is_a_warning(make_rows, contract, tmp_path) -> None:
    path = write(make_rows().assign(label=0), tmp_path / "data.csv")
    (warning,) = load_training_rows(path, contract).warnings
    assert "all 60 labels are 0" in warning


@pytest.mark.parametrize("bad", [0.0, -1.0, 2.5, np.nan, np.inf])
def test_weights(make_rows, contract, tmp_path, bad) -> None:
    weighted = contract.model_copy(update={"weight": "w", "max_weight": 2.0})
    rows = make_rows().assign(w=2.0)
    table = load_training_rows(write(rows, tmp_path / "good.csv"), weighted).table
    assert table.weights is not None
    assert set(table.weights) == {2.0}
    assert table.max_weight == 2.0
    rows.loc[6, "w"] = bad
    with pytest.raises(DataError, match=r"row 7, column 'w': .*above 0 and at most 2"):
        load_training_rows(write(rows, tmp_path / "bad.parquet"), weighted)


def test_columns_that_are_not_used_are_listed(make_rows, contract, tmp_path, caplog) -> None:
    with caplog.at_level("INFO"):
        load_training_rows(write(make_rows(), tmp_path / "data.csv"), contract)
    assert "columns not used: note" in caplog.text


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.none(), st.floats(-1e37, 1e37, allow_nan=False)), min_size=1, max_size=30
    )
)
def test_csv_and_parquet_give_the_same_bits(tmp_path_factory, values) -> None:
    root = tmp_path_factory.mktemp("same")
    contract = DataContract(kind="table", label="y", features=(FeatureSpec(name="x"),))
    rows = pd.DataFrame({"x": np.array(values, dtype=np.float64), "y": 0})
    tables = [
        load_training_rows(write(rows, root / name), contract).table.features
        for name in ("d.csv", "d.parquet")
    ]
    assert tables[0].tobytes() == tables[1].tobytes()


@pytest.mark.parametrize("kind", ["int8", "uint16", "int64", "float32", "bool"])
def test_number_types_of_parquet(tmp_path, kind) -> None:
    contract = DataContract(kind="table", label="y", features=(FeatureSpec(name="x"),))
    path = write(pd.DataFrame({"x": np.array([0, 1], kind), "y": [True, False]}), tmp_path / "d.pq")
    table = load_training_rows(path, contract).table
    np.testing.assert_array_equal(table.features[:, 0], [0, 1])
    np.testing.assert_array_equal(table.labels, [1, 0])


def test_categories_as_dictionary_or_integers(tmp_path) -> None:
    spec = FeatureSpec(name="x", type=FeatureType.CATEGORICAL, categories=("7", "8"))
    contract = DataContract(kind="table", label="y", features=(spec,))
    labels = pa.array([0, 1, 0])
    for column in (
        pa.array([8, 7, None]),
        pa.array(["8", "7", ""]).dictionary_encode(),
        pa.array(["8", "7", None], pa.large_string()),
    ):
        pa_parquet.write_table(pa.table({"x": column, "y": labels}), tmp_path / "d.parquet")
        table = load_training_rows(tmp_path / "d.parquet", contract).table
        np.testing.assert_array_equal(table.features[:, 0], [1, 0, np.nan])


def test_validation_rows_are_the_same_wherever_they_lie(make_rows, contract, tmp_path) -> None:
    rows = make_rows(n_rows=400)
    table = load_training_rows(write(rows, tmp_path / "all.csv"), contract).table
    windows = windows_by_share(table, seed=3, select=True)
    validation = windows.select
    assert validation is not None
    assert windows.train.n_rows + validation.n_rows == 400
    assert 0.1 < validation.n_rows / 400 < 0.3
    parts = [rows.iloc[::-3], rows.drop(rows.index[::-3])]
    chosen = []
    for part in parts:
        table = load_training_rows(write(part, tmp_path / "part.csv"), contract).table
        part_of_it = windows_by_share(table, seed=3, select=True).select
        assert part_of_it is not None
        chosen.append(part_of_it.features)
    joined = np.concatenate(chosen)
    order = [np.lexsort(features.T) for features in (joined, validation.features)]
    np.testing.assert_array_equal(joined[order[0]], validation.features[order[1]])


DAY = 86400
TRANSACTIONS = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=contract_features(),
    train_from=10 * DAY,
    train_until=40 * DAY,
    label_horizon_days=LabelHorizon(days=7),
)


def transactions(n_rows: int = 200, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 50 * DAY, n_rows))
    return pd.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(n_rows)],
            "event_time": times,
            "label_time": times + 5 * DAY,
            "customer_id": rng.choice(["c1", "c2", "c3"], n_rows),
            "merchant_id": rng.choice(["m1", "m2"], n_rows),
            "terminal_id": "t1",
            "payee_id": None,
            "device_id": None,
            "channel": "pos",
            "merchant_category": "fuel",
            "amount_minor": rng.integers(1, 10_000, n_rows),
            "latitude": 51.5,
            "longitude": -0.1,
            "is_fraud": rng.integers(0, 2, n_rows),
            "fraud_kind": None,
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_transactions_of_the_window_with_known_labels(tmp_path, suffix) -> None:
    raw = transactions()
    found = load_training_rows(write(raw, tmp_path / f"d{suffix}"), TRANSACTIONS)
    # Only days whose labels have matured: the last 7 of the window are left out.
    inside = (raw["event_time"] >= 10 * DAY) & (raw["event_time"] < 33 * DAY)
    assert (raw["label_time"][inside] < 40 * DAY).all()
    assert found.rows_read == 200
    assert 0 < found.table.n_rows == int(inside.sum()) < 200
    built = build_features(raw)
    np.testing.assert_array_equal(found.table.features, built.values[inside.to_numpy()])
    np.testing.assert_array_equal(found.table.labels, raw["is_fraud"][inside])
    times = raw["event_time"][inside]
    assert found.windows.periods == {"train": (times.min(), times.max())}

    part = TRANSACTIONS.model_copy(update={"features": TRANSACTIONS.features[3:6]})
    few = load_training_rows(tmp_path / f"d{suffix}", part).table
    np.testing.assert_array_equal(few.features, found.table.features[:, 3:6])

    scoring = load_scoring_rows(tmp_path / f"d{suffix}", TRANSACTIONS)
    np.testing.assert_array_equal(scoring.features, built.values)
    assert scoring.identifiers is not None
    assert scoring.identifiers.to_pylist() == list(raw["transaction_id"])


def test_transactions_without_labels_can_be_scored_but_not_trained_on(tmp_path) -> None:
    raw = transactions()
    raw.loc[150:, ["is_fraud", "label_time"]] = np.nan
    path = write(raw, tmp_path / "d.csv")
    assert len(load_scoring_rows(path, TRANSACTIONS).features) == 200
    assert load_training_rows(path, TRANSACTIONS).table.n_rows > 0
    path = write(raw.drop(columns=["is_fraud", "label_time"]), tmp_path / "new.csv")
    assert len(load_scoring_rows(path, TRANSACTIONS).features) == 200
    with pytest.raises(DataError, match=r"'label_time'.*is missing"):
        load_training_rows(path, TRANSACTIONS)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("transaction_id", "t1"), r"row 7(?: \(line 8\))?, column 'transaction_id': got 't1'"),
        (put("channel", "fax"), r"row 7(?: \(line 8\))?, column 'channel': got 'fax'"),
        (put("amount_minor", -1), r"row 7(?: \(line 8\))?, column 'amount_minor'"),
        (put("amount_minor", 1.5), r"row 7(?: \(line 8\))?, column 'amount_minor'"),
        (put("latitude", np.inf), r"row 7(?: \(line 8\))?, column 'latitude'"),
        (put("is_fraud", 2), r"row 7(?: \(line 8\))?, column 'is_fraud'"),
        (lambda rows: rows.drop(columns="customer_id"), r"column 'customer_id' \(.*\) is missing"),
        (lambda rows: rows.drop(columns="latitude"), "'latitude' is missing while 'longitude'"),
        (
            lambda rows: rows.assign(event_time=60 * DAY, label_time=61 * DAY),
            "none of 200 payments is mature",
        ),
        (lambda rows: rows.assign(is_fraud=np.nan, label_time=np.nan), "no row has a label"),
    ],
)
def test_transactions_that_are_refused(tmp_path, edit, message) -> None:
    for name in ("d.csv", "d.parquet"):
        path = write(edit(transactions()), tmp_path / name)
        with pytest.raises(DataError, match=message) as failure:
            load_training_rows(path, TRANSACTIONS)
        assert str(failure.value).startswith(str(path))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_bank_without_a_column_says_so_once_and_goes_on(tmp_path, suffix, caplog) -> None:
    raw = transactions().assign(device_id="d1", payee_id="p1").drop(columns=["device_id"])
    found = load_training_rows(write(raw, tmp_path / f"d{suffix}"), TRANSACTIONS)
    (warning,) = found.warnings
    assert "there is no column device_id: no row has a value in new_device, device_age_" in warning
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        warning
    ]
    index = [spec.name for spec in TRANSACTIONS.features].index("new_device")
    assert np.isnan(found.table.features[:, index]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "other-1"}, "recipe 'other-1'"),
        ({"label": "y"}, "label 'y'"),
        ({"features": (FeatureSpec(name="unknown"),)}, "feature 'unknown'"),
        ({"features": (FeatureSpec(name="channel"),)}, "feature 'channel'"),
        ({"features": (FeatureSpec(name="is_fraud"),)}, "feature 'is_fraud' is none of recipe"),
        ({"weight": "amount_minor"}, "a column of every transaction"),
    ],
)
def test_contracts_that_this_release_cannot_meet(changes, message) -> None:
    check_contract(TRANSACTIONS)
    with pytest.raises(ConfigurationError, match=message):
        check_contract(TRANSACTIONS.model_copy(update=changes))
