"""Keys of a bank's rows: nothing that a run or its operator chooses gives the same rows others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from examples.ledgers import ledger_at
from examples.run_contexts import make_context
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.data.source_keys import day_keys, row_keys
from bank_node.jobs import monitor, search, statistics, training
from bank_node.jobs.rows import run_row_keys
from bank_node.run.context import RunOptions
from bank_node.state.ledger import Ledger
from fraudfed.errors import DataError
from fraudfed.features.mappings.mapping import load_mapping
from fraudfed.reading import pieces
from fraudfed.reading.file_format import FileFormat

N_ROWS = 60


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return ledger_at(tmp_path_factory.mktemp("ledger") / "ledger")


def rows(seed: int = 0, n_rows: int = N_ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(3, 1, n_rows).round(2)
    amount[3:4] = np.nan
    return pd.DataFrame(
        {
            "amount": amount,
            "count": rng.integers(0, 5000, n_rows),
            "account": [f"{number:05d}-x" for number in rng.integers(0, 900, n_rows)],
            "time": pd.to_datetime(rng.integers(1_600_000_000, 1_700_000_000, n_rows), unit="s"),
            "channel": rng.choice(["pos", "web", ""], n_rows),
            "known": rng.choice([True, False], n_rows),
            "label": rng.integers(0, 2, n_rows),
        }
    )


@pytest.fixture
def keys(tmp_path: Path, ledger: Ledger):
    """Write a table and return the keys of its file."""
    count = iter(range(99))

    def of(table: pd.DataFrame, *, csv: bool = False, **options: object) -> set[str]:
        path = tmp_path / f"{next(count)}.{'csv' if csv else 'parquet'}"
        if csv:
            table.to_csv(path, index=False, **options)
        else:
            table.to_parquet(path, index=False)
        return set(row_keys(path, ledger))

    return of


#: Amount, count, account, time, and the whole file.
N_KEYS = 5


def test_order_names_and_format_do_not_matter(keys) -> None:
    table = rows()
    expected = keys(table)
    assert len(expected) == N_KEYS
    assert keys(table.sample(frac=1, random_state=1)) == expected
    assert keys(table[table.columns[::-1]]) == expected
    assert keys(table.rename(columns={"amount": "betrag", "label": "fraud"})) == expected
    assert keys(table, csv=True) == expected
    assert keys(table, csv=True, na_rep="NaN") == expected


def test_numbers_are_what_training_reads_whatever_their_spelling(keys) -> None:
    table = rows()
    expected = keys(table)
    assert keys(table.assign(count=table["count"].astype(float))) == expected
    assert keys(table.assign(count=table["count"].astype(float)), csv=True) == expected
    assert keys(table.assign(count=table["count"].map("{:.3f}".format))) == expected
    assert keys(table.assign(amount=table["amount"].astype(np.float32))) == expected
    assert keys(table.assign(known=table["known"].astype(int)), csv=True) == expected
    assert keys(table.assign(account=table["account"].astype("category"))) == expected


@pytest.mark.parametrize("csv", [False, True])
def test_with_other_columns_the_rows_are_still_known(keys, csv: bool) -> None:
    """Each column that is left has its key; only that of all columns is another."""
    table = rows()
    before = keys(table)
    for fewer in (table[["amount"]], table[["label", "account"]], table.drop(columns="channel")):
        assert keys(fewer, csv=csv) & before
    assert len(keys(table.assign(more=np.arange(N_ROWS) ** 2), csv=csv) & before) == N_KEYS - 1


def test_reports_that_came_in_since_do_not_make_the_rows_new(keys) -> None:
    table = rows()
    assert len(keys(table) & keys(table.assign(label=1 - table["label"]))) == N_KEYS - 1


def test_other_rows_have_other_keys(keys) -> None:
    table = rows()
    before = keys(table)
    assert not before & keys(rows(1))
    assert not before & keys(table[1:])
    assert not before & keys(pd.concat([table, rows(1, 1)]))


def test_row_numbers_and_columns_of_few_values_make_no_two_files_alike(keys) -> None:
    """Else every file of as many rows would be taken for the same."""
    one, two = (rows(seed)[["amount", "known"]] for seed in (0, 1))
    for table in (one, two):
        table["row"] = np.random.default_rng(0).permutation(N_ROWS)
        table["country"] = "GB"
    assert not keys(one) & keys(two)


def test_a_file_of_a_few_values_has_a_key_all_the_same(keys) -> None:
    table = pd.DataFrame({"amount": [1.0, 2.0, 3.0], "label": [0, 1, 0]})
    (key,) = keys(table)
    assert keys(table[::-1], csv=True) == {key}
    assert keys(table.assign(label=0)) != {key}


def test_what_nobody_trains_on_is_no_obstacle(keys) -> None:
    table = rows()
    lists = table.assign(tags=[[1, 2]] * N_ROWS, nothing=None)
    assert len(keys(lists) & keys(table)) == N_KEYS - 1


def test_a_file_that_cannot_be_read_to_its_end_has_none(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match="cut off"):
        row_keys(path, ledger)


CELLS = st.one_of(st.none(), st.floats(width=32), st.integers(-(2**24), 2**24), st.text("ab é0,"))


@settings(max_examples=60)
@given(
    columns=st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=4),
    order=st.permutations(range(4)),
)
def test_no_order_of_rows_or_columns_changes_a_key(
    tmp_path_factory: pytest.TempPathFactory, ledger: Ledger, columns, order
) -> None:
    where = tmp_path_factory.mktemp("rows")
    table = pd.DataFrame({f"c{place}": list(map(str, one)) for place, one in enumerate(columns)})
    table.to_csv(where / "one.csv", index=False)
    table.iloc[list(order), ::-1].to_parquet(where / "two.parquet", index=False)
    assert row_keys(where / "one.csv", ledger) == row_keys(where / "two.parquet", ledger)


def test_days_have_a_key_each_whatever_was_counted(ledger: Ledger) -> None:
    assert len(set(day_keys(-3, 400, ledger))) == 404
    assert set(day_keys(5, 9, ledger)) & set(day_keys(9, 12, ledger)) == set(day_keys(9, 9, ledger))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_and_pieces_have_the_keys_of_the_table_that_they_were(
    tmp_path: Path, ledger: Ledger, keys, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    table = rows()
    # Of a kind that shows late: numbers, then a text; truth values, then numbers.
    table["late"] = [str(n) for n in range(N_ROWS - 1)] + ["text"]
    table["mixed"] = ["true"] * 30 + ["5"] * 30
    table["times"] = [f"2026-01-{1 + n // 3:02d}" for n in range(N_ROWS)]
    whole = keys(table, csv=suffix == ".csv")
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, (start, stop) in enumerate([(0, 20), (20, 20), (20, 59), (59, 60)]):
        part, path = table.iloc[start:stop], parts / f"{3 - number}{suffix}"
        part = part if number else part[list(reversed(part.columns))]
        if suffix == ".csv":
            part.to_csv(path, index=False)
        else:
            part.to_parquet(path, index=False, row_group_size=7)
    monkeypatch.setattr(pieces, "_SMALL_CSV_BYTES", 0)
    monkeypatch.setattr(pieces, "_BLOCK_BYTES", 512)
    for piece_rows in (None, 5, 1000):
        assert set(row_keys(parts, ledger, piece_rows=piece_rows)) == whole


def test_a_run_knows_rows_however_its_mapping_says_that_they_are_written(
    tmp_path: Path, ledger: Ledger
) -> None:
    plain, abroad = tmp_path / "plain.csv", tmp_path / "abroad.csv"
    rows().to_csv(plain, index=False)
    rows().to_csv(abroad, index=False, sep=";", decimal=",")
    written = FileFormat(separator=";", decimal=",")
    mapping = load_mapping("handbook").model_copy(update={"file": written})
    options = RunOptions(abroad, mapping=mapping)
    context = make_context("a", None, run="r1", key_epoch=1, ledger=ledger, options=options)
    assert set(run_row_keys(context)) == set(row_keys(plain, ledger))


@pytest.mark.parametrize(
    "job", [monitor, search, statistics, training], ids=lambda job: job.__name__
)
def test_every_kind_of_run_over_rows_keys_them_in_the_same_way(job) -> None:
    assert job.run_row_keys is run_row_keys
    assert not hasattr(job, "row_keys")
