"""``check-data`` of payments piece by piece: the report of all rows at once, good or bad."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples.published_tables import handbook_rows, paysim_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.checking.check import Where, check_rows, check_without_labels
from bank_node.checking.facts import Facts
from bank_node.data import streamed
from bank_node.data.contract import load_training_rows, open_rows
from bank_node.data.contract_terms import KnownFrauds
from bank_node.data.looks import pieces
from bank_node.data.streamed import Bounded
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.errors import DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.mappings.mapping import load_mapping
from fraudfed.intake.repeated import Repeated, SpilledIdentifiers
from fraudfed.intake.windows import WindowCounts
from fraudfed.reading import pieces as reading
from fraudfed.reading.problems import ProblemsError
from fraudfed.reading.report import report_of
from fraudfed.wire.messages import (
    Currency,
    DataContract,
    FeatureSpec,
    LabelHorizon,
    Population,
)

ROWS = 7
DAY = 86_400
LIMIT = 1 << 29
OWN = FeatureSpec(name="balance", description="of the account", unit="EUR", nullable=False)
CONTRACT = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=(*contract_features()[:4], OWN),
    weight="w",
    max_weight=2.0,
    currency=Currency(code="EUR", rates={"USD": {"1970-01-03": "0.5"}}),
)


def small(patch: pytest.MonkeyPatch, rows: int = ROWS) -> None:
    """Let nothing fit, and pieces and buckets be as small as no limit would make them."""
    patch.setattr(Bounded, "piece_rows", rows)
    patch.setattr(streamed, "_PAYMENT_BYTES", 1 << 40)
    for module in (streamed, pieces):
        patch.setattr(module, "n_buckets_for", lambda n_rows, *, memory_bytes: 3)
    patch.setattr(reading, "_SMALL_CSV_BYTES", 0)
    patch.setattr(reading, "_BLOCK_BYTES", 600)


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        small(patch)
        yield patch


def report(data: Path, contract: DataContract, *, labels: bool = True, **how: Any) -> str:
    """Return what ``check-data`` says: the report, what is wrong, or the error."""
    check = check_rows if labels else check_without_labels
    try:
        found = check(data, contract, Where(LIMIT), **{"mapping": None, "shared": None, **how})
    except ProblemsError as error:
        return f"{error}\n{report_of(error).model_dump_json(indent=1)}"
    except DataError as error:
        return str(error)
    return found.model_dump_json(indent=1)


def both(
    data: Path, contract: DataContract, *, labels: bool = True, piece: int = ROWS, **how: Any
) -> str:
    """Return the report; it is the same at once and in pieces."""
    whole = report(data, contract, labels=labels, **how)
    with pytest.MonkeyPatch.context() as patch:
        small(patch, piece)
        in_pieces = report(data, contract, labels=labels, **how)
    assert in_pieces == whole
    return whole


def rows(count: int) -> pd.DataFrame:
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in numbers],
            "event_time": 3 * DAY + numbers * 3600,
            "label_time": 3 * DAY + numbers * 3600 + 5,
            "customer_id": [f"c{number % 3}" for number in numbers],
            "channel": "pos",
            "amount_minor": 100 + numbers,
            "currency": "EUR",
            "is_fraud": numbers % 2,
            "balance": 1.5,
            "w": 1.0,
        }
    ).astype(object)


#: What may be wrong with a row: a column, and what stands there then.
FAULTS = {
    "channel": "fax",
    "label_time": 1,
    "amount_minor": "2.50 EUR",
    "event_time": 1.5,
    "customer_id": None,
    "currency": "XXX",
    "is_fraud": 3,
    "balance": None,
    "w": 9.0,
    "transaction_id": "t0",
}
MORE = {"amount_minor": -3, "label_time": None, "balance": "inf", "currency": "GBP"}


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4).filter(any),
    faults=st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from([*FAULTS.items(), *MORE.items()])),
        max_size=12,
    ),
    piece=st.integers(1, 40),
    several=st.booleans(),
)
def test_what_is_wrong_is_told_in_pieces_as_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    faults: list[tuple[int, tuple[str, Any]]],
    piece: int,
    several: bool,
) -> None:
    directory = tmp_path_factory.mktemp("data")
    frame = rows(sum(sizes))
    for row, (column, value) in faults:
        frame.loc[row % len(frame), column] = value
    data, start = directory / "0.csv", 0
    if not several:
        frame.to_csv(data, index=False)
    else:
        for number, size in enumerate(sizes):
            part = frame.iloc[start : start + size]
            part.to_csv(directory / f"{number}.csv", index=False)
            start += size
        data = directory
    whole = report(data, CONTRACT)
    with pytest.MonkeyPatch.context() as patch:
        small(patch, piece)
        assert report(data, CONTRACT) == whole


def test_problems_stand_in_the_order_of_the_checks_whatever_piece_they_are_in(
    tmp_path: Path,
) -> None:
    frame = rows(40)
    frame.loc[[2, 3], "balance"] = "inf"
    frame.loc[4, "balance"] = "much"
    frame.loc[9, "label_time"] = 1
    frame.loc[[11, 30], "channel"] = "fax"
    frame.loc[20, "transaction_id"] = "t1"
    frame.loc[39, "customer_id"] = None
    for name in ("rows.csv", "rows.parquet"):
        # Parquet holds one type a column.
        typed = frame.assign(balance=frame["balance"].astype(str))
        frame.to_csv(tmp_path / name, index=False) if name.endswith("csv") else typed.to_parquet(
            tmp_path / name, row_group_size=9
        )
        told = both(tmp_path / name, CONTRACT)
        kinds = ("missing_value", "unknown_value", "repeated_value", "label_before_payment")
        places = [told.index(f'"kind": "{kind}"') for kind in (*kinds, "not_a_number")]
        assert places == sorted(places)
        assert "'1' beside event_time" in told or "1.0 beside event_time 291600" in told


@pytest.mark.usefixtures("in_pieces")
def test_problems_of_pieces_as_they_come_would_be_in_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = rows(40)
    frame.loc[1, "label_time"] = 1
    frame.loc[39, "channel"] = "fax"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    right = report(tmp_path / "rows.csv", CONTRACT)
    monkeypatch.setattr("fraudfed.reading.problems.Problems.begin", lambda *_: None)
    monkeypatch.setattr("fraudfed.reading.problems.Problems.then", lambda *_: None)
    assert report(tmp_path / "rows.csv", CONTRACT) != right


def test_a_repeated_identifier_is_told_with_file_row_line_and_origin(tmp_path: Path) -> None:
    frame = rows(60)
    frame.loc[[20, *range(40, 55)], "transaction_id"] = "t1"
    for number, start in enumerate((0, 30)):
        frame.iloc[start : start + 30].to_csv(tmp_path / f"{number}.csv", index=False)
    told = both(tmp_path, CONTRACT)
    assert '"count": 16' in told
    assert "1.csv: row 11 (line 12)" not in told.splitlines()[0]
    assert '"row": 11,\n     "line": 12' in told
    mapped = handbook_rows(50)
    mapped.loc[9, "TRANSACTION_ID"] = mapped.loc[2, "TRANSACTION_ID"]
    mapped.to_csv(tmp_path / "handbook.csv", index=False)
    plain = CONTRACT.model_copy(
        update={"features": contract_features()[:4], "weight": None, "currency": None}
    )
    told = both(tmp_path / "handbook.csv", plain, mapping=load_mapping("handbook"))
    assert '"kind": "repeated_value"' in told
    assert '"origin": "\'TRANSACTION_ID\'' in told


def test_what_a_mapping_cannot_make_hides_what_would_be_made_of_it_in_every_piece(
    tmp_path: Path,
) -> None:
    frame = handbook_rows(60).astype({"TX_AMOUNT": object, "TX_FRAUD": object})
    plain = CONTRACT.model_copy(
        update={"features": contract_features()[:4], "weight": None, "currency": None}
    )
    frame.loc[4, "TX_AMOUNT"] = -1.0
    frame.loc[50, "TX_AMOUNT"] = "free"
    frame.loc[8, "TX_FRAUD"] = 3
    frame.loc[40, "TX_FRAUD"] = "perhaps"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    told = both(tmp_path / "rows.csv", plain, mapping=load_mapping("handbook"))
    assert told.count('"kind": "not_in_the_mapping"') == 2
    assert "out_of_range" not in told
    assert '"kind": "no_labels"' in told


def test_rows_that_a_mapping_numbers_are_numbered_over_all_pieces(tmp_path: Path) -> None:
    plain = CONTRACT.model_copy(
        update={"features": contract_features()[:4], "weight": None, "currency": None}
    )
    frame = paysim_rows(60)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    told = both(tmp_path / "rows.csv", plain, mapping=load_mapping("paysim"))
    assert '"rows_read": 60' in told


def test_missing_labels_and_columns_are_told_as_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    frame = rows(30)
    frame.drop(columns=["is_fraud", "label_time", "customer_id", "w"]).to_csv(path, index=False)
    told = both(path, CONTRACT)
    assert told.count('"kind": "missing_column"') == 4
    frame.assign(is_fraud=None, label_time=None).to_csv(path, index=False)
    assert '"kind": "no_labels"' in both(path, CONTRACT)
    frame.to_csv(path, index=False)
    with path.open("a") as file:
        file.write("t99,1\n")
    assert "cut_off_row" in report(path, CONTRACT)


def test_a_cut_off_row_of_one_file_of_several_is_not_passed_over(
    tmp_path: Path, in_pieces: pytest.MonkeyPatch
) -> None:
    in_pieces.undo()
    for number in range(2):
        rows(9).assign(transaction_id=lambda of, n=number: of["transaction_id"] + f"-{n}").to_csv(
            tmp_path / f"{number}.csv", index=False
        )
    with (tmp_path / "1.csv").open("a") as file:
        file.write("t99,1\n")
    whole = report(tmp_path, CONTRACT)
    assert "cut_off_row" in whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "_PAYMENT_BYTES", 1 << 40)
        assert report(tmp_path, CONTRACT) == whole


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Payments in uneven files, in no order of time, one of them empty."""
    _, frame = next(iter(generate(WorldConfig(seed=3, banks=3, customers=60, days=18))))
    is_fraud = np.arange(len(frame)) % 17 == 0
    frame = frame.assign(
        is_fraud=is_fraud.astype(np.int8),
        label_time=(frame["event_time"] + 3_600).where(is_fraud, frame["label_time"]),
        is_blocked=(np.arange(len(frame)) % 29 == 0).astype(np.int8),
        fraud_kind=np.where(is_fraud, np.where(np.arange(len(frame)) % 2, "own", None), None),
        currency=np.where(np.arange(len(frame)) < 50, "USD", "EUR"),
    ).sample(frac=1.0, random_state=0)
    directory = tmp_path_factory.mktemp("parts") / "rows"
    directory.mkdir()
    for number, (start, stop) in enumerate([(0, 300), (300, 300), (300, 320), (320, None)]):
        frame.iloc[start:stop].to_parquet(directory / f"{number}.parquet", row_group_size=100)
    return directory


@pytest.fixture(scope="module")
def contract(parts: Path) -> DataContract:
    end = int(pd.read_parquet(parts)["event_time"].max()) + 1
    return DataContract(
        kind="transactions",
        recipe=RECIPE,
        features=contract_features()[:9],
        label_horizon_days=LabelHorizon(days=3, by_channel={"pos": 2}),
        train_until=end - 8 * DAY,
        select_until=end - 4 * DAY,
        judge_until=end + 3 * DAY // 2,
        exclude_known_compromised=True,
    )


def test_what_a_good_file_holds_is_told_as_at_once(
    parts: Path, contract: DataContract, caplog: pytest.LogCaptureFixture
) -> None:
    def told(of: DataContract) -> tuple[str, list[str]]:
        caplog.clear()
        found = report(parts, of)
        return found, sorted(
            {each.message for each in caplog.records if each.levelno >= logging.WARNING}
        )

    few = contract.model_copy(update={"population": Population(channels=("pos",))})
    for each in (contract, few):
        whole = told(each)
        assert '"name": "judge"' in whole[0]
        assert '"unknown_kinds": ' in whole[0]
        with pytest.MonkeyPatch.context() as patch:
            small(patch, 90)
            assert told(each) == whole


def test_what_a_run_cannot_use_is_refused_as_at_once(parts: Path, contract: DataContract) -> None:
    for change, text in (
        ({"judge_until": 2**31}, "judge_until"),
        ({"train_until": contract.train_until and contract.train_until - 30 * DAY}, "is mature"),
        ({"population": Population(channels=("atm",), direction="inbound")}, "population"),
    ):
        assert text in both(parts, contract.model_copy(update=change), piece=150)


def test_data_without_labels_are_checked_as_at_once(parts: Path, contract: DataContract) -> None:
    told = both(parts, contract, labels=False, piece=150)
    assert "can be scored" in told


def test_facts_add_up_in_any_grouping(parts: Path, contract: DataContract) -> None:
    facts = Facts.of_rows(load_training_rows(parts, contract))
    nothing = np.empty(0, dtype=np.int64)
    none = Facts(
        0,
        0,
        0,
        np.zeros_like(facts.n_missing),
        {name: WindowCounts(0, 0, 0) for name in facts.counts},
        {},
        facts.population,
        KnownFrauds(nothing, nothing, [], 0, []),
    )
    left = Facts.together([Facts.together([facts, none]), facts])
    right = Facts.together([facts, Facts.together([none, facts])])
    for name in ("rows_read", "rows", "frauds_trained", "counts", "periods", "population"):
        assert getattr(left, name) == getattr(right, name)
    assert left.rows == 2 * facts.rows
    np.testing.assert_array_equal(left.n_missing, right.n_missing)
    assert left.frauds is not None
    assert right.frauds is not None
    np.testing.assert_equal(vars(left.frauds), vars(right.frauds))
    assert left.periods == facts.periods
    assert open_rows(parts, contract, None).name


@settings(max_examples=30)
@given(
    names=st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), max_size=60),
    edges=st.lists(st.integers(0, 60), max_size=5),
    n_buckets=st.integers(1, 4),
    wrong=st.sets(st.integers(0, 59)),
)
def test_repeated_identifiers_are_those_of_all_rows_whatever_the_pieces_and_buckets(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str | None],
    edges: list[int],
    n_buckets: int,
    wrong: set[int],
) -> None:
    series = pd.Series(names, dtype=object)
    is_wrong = np.isin(np.arange(len(names)), list(wrong))
    again = (series.duplicated() & series.notna()).to_numpy(dtype=np.bool_) & ~is_wrong
    cuts = [0, *sorted(min(edge, len(names)) for edge in edges), len(names)]
    with SpilledIdentifiers(tmp_path_factory.mktemp("ids"), n_buckets) as found:
        for start, stop in itertools.pairwise(cuts):
            found.add(series[start:stop], is_wrong[start:stop])
        places = np.flatnonzero(again)
        assert found.repeated() == Repeated(places.size, tuple(places[:10].tolist()))
