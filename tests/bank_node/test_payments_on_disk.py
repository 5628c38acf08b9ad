"""Payments that do not fit into memory train, select and judge as they do in memory."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples.run_contexts import make_context
from federations.bank_process import Finished, finish
from federations.bank_states import Banks
from private_tables import terms_of
from rich.console import Console

from bank_node.data import streamed
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.data.digest import windows_digest
from bank_node.data.source_keys import row_keys
from bank_node.data.streamed import Bounded, bounded_rows
from bank_node.jobs.rows import JobRows, job_rows
from bank_node.jobs.search import SearchWork
from bank_node.jobs.training import TrainingWork
from bank_node.run.context import RunOptions
from bank_node.run.progress import RunProgress
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.parts import PartedShard
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features import RECIPE, contract_features
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.terms import PrivacyUnit
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    LabelHorizon,
    Population,
    SearchCandidate,
    SearchRung,
    SearchSpec,
)

ROWS = 400
LIMIT = 1 << 29
DAY = 86_400
COMMON: dict[str, Any] = {"eta": 0.3, "max_bin": 8, "subsample": 0.8}
PARAMS = BoosterParams.parse(
    {**COMMON, "num_boost_round": 3, "max_depth": 3, "eval_metric": ["aucpr"]}
    | {"early_stopping_rounds": 3}
)
SEARCH = SearchSpec(
    candidates=(
        SearchCandidate(name="shallow", parameters={"max_depth": 1}),
        SearchCandidate(name="deep", parameters={"max_depth": 3}),
    ),
    rungs=(SearchRung(trees=1, alive=2), SearchRung(trees=2, alive=1)),
    patience=None,
    keep_each_share=False,
)


class _Keys:
    def key(self, domain: str, *parts: bytes) -> str:
        return repr((domain, parts))


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    _, rows = next(iter(generate(WorldConfig(seed=3, banks=3, customers=200, days=30))))
    assert len(rows) > 5 * ROWS
    # Frauds in every window and piece, each reported an hour later; weights, and two currencies.
    is_fraud = np.arange(len(rows)) % 17 == 0
    return rows.assign(
        is_fraud=is_fraud.astype(np.int8),
        label_time=(rows["event_time"] + 3_600).where(is_fraud, rows["label_time"]),
        currency=np.where(np.arange(len(rows)) < 50, "USD", "EUR"),
        w=1 + np.arange(len(rows)) % 3 / 2,
    ).drop(columns="merchant_category")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, payments: pd.DataFrame) -> Path:
    """Uneven files, in no order of time, one of them empty."""
    directory = tmp_path_factory.mktemp("parts") / "rows"
    directory.mkdir()
    shuffled = payments.sample(frac=1.0, random_state=0)
    for number, (start, stop) in enumerate([(0, 900), (900, 900), (900, 950), (950, None)]):
        shuffled.iloc[start:stop].to_parquet(directory / f"{number}.parquet", row_group_size=300)
    return directory


@pytest.fixture(scope="module")
def contract(payments: pd.DataFrame) -> DataContract:
    end = int(payments["event_time"].max()) + 1
    return DataContract(
        kind="transactions",
        features=contract_features(),
        recipe=RECIPE,
        weight="w",
        max_weight=2.0,
        label_horizon_days=LabelHorizon(days=3),
        train_until=end - 10 * DAY,
        select_until=end - 5 * DAY,
        # The data end two days before it: a warning.
        judge_until=end + 2 * DAY,
    )


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that never fit, and pieces and buckets as small as no limit would make them."""
    monkeypatch.setattr(Bounded, "piece_rows", ROWS)
    monkeypatch.setattr(streamed, "n_buckets_for", lambda n_rows, *, memory_bytes: 5)
    monkeypatch.setattr(streamed, "_PAYMENT_BYTES", 1 << 30)


def rows_of(data: Path, contract: DataContract, *, limit: int | None, **settings: Any) -> JobRows:
    run = SimpleNamespace(run_id="r", contract=contract)
    context = make_context("a", None, run=run, key_epoch=1)
    options = RunOptions(data, memory_limit=limit)
    return job_rows(replace(context, options=options), TableShares(), shared=None, **settings)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return sorted(each.message for each in caplog.records if each.levelno >= logging.WARNING)


def known(rows: JobRows) -> dict[str, Any]:
    """Return what a work takes of rows."""
    return {
        "judging": rows.judging,
        "rows_read": rows.n_rows,
        "data_sha256": rows.digest,
        "row_keys": ("k",),
        "progress": RunProgress(Console(quiet=True), enabled=False),
        "threads": 1,
    }


def trained(rows: JobRows) -> Any:
    work = TrainingWork(params=PARAMS, table=rows.train, validation=rows.validation, **known(rows))
    return work.run(SoloCommunicator(), start=None, on_step=lambda _: None)


def searched(rows: JobRows) -> Any:
    assert isinstance(rows.select, JudgedRows)
    work = SearchWork(
        spec=SEARCH, common=COMMON, table=rows.train, select=rows.select, **known(rows)
    )
    return work.run(SoloCommunicator(), start=None, on_step=lambda _: None)


@pytest.mark.usefixtures("on_disk")
def test_payments_on_disk_train_search_and_judge_as_those_in_memory(
    parts: Path,
    contract: DataContract,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = rows_of(parts, contract, limit=None)
    told = warnings_of(caplog)
    # The end of the data, the currencies, and a column that is not there.
    assert len([text for text in told if "cut-off" in text or "currencies" in text]) == 2
    assert any("merchant_category" in text for text in told)
    caplog.clear()
    rows = rows_of(parts, contract, limit=LIMIT)
    assert warnings_of(caplog) == told
    assert isinstance(whole.train, TrainingTable)
    assert isinstance(rows.train, PartedShard)
    assert rows.train.n_rows == whole.train.n_rows > 2 * ROWS
    assert rows.digest == whole.digest
    assert rows.n_rows == whole.n_rows
    assert rows.piece_rows == ROWS
    for found, expected in (
        (rows.select, whole.select),
        (rows.judging.rows, whole.judging.rows),
    ):
        assert isinstance(found, JudgedRows)
        assert isinstance(expected, JudgedRows)
        np.testing.assert_array_equal(found.features, expected.features)
        # Customers, cards and accounts have the numbers that they have in memory.
        np.testing.assert_equal(vars(found.outcomes), vars(expected.outcomes))
    for work in (trained, searched):
        assert work(rows).content == work(whole).content
        assert work(rows).result.verdict == work(whole).result.verdict
    # The ledger knows them again.
    keys = _Keys()
    assert set(row_keys(parts, keys, piece_rows=ROWS)) == set(row_keys(parts, keys))


@pytest.mark.usefixtures("on_disk")
def test_a_small_population_and_missing_windows_are_as_in_memory(
    parts: Path, contract: DataContract, caplog: pytest.LogCaptureFixture
) -> None:
    few = contract.model_copy(
        update={
            "population": Population(channels=("transfer",)),
            "weight": None,
            "max_weight": 1.0,
            "select_until": None,
            "judge_until": None,
        }
    )
    whole = rows_of(parts, few, limit=None)
    told = warnings_of(caplog)
    caplog.clear()
    rows = rows_of(parts, few, limit=LIMIT)
    assert warnings_of(caplog) == told
    assert rows.digest == whole.digest
    assert rows.select is rows.validation is rows.judging.rows is None


@pytest.mark.usefixtures("on_disk")
def test_another_row_is_another_digest(
    payments: pd.DataFrame, contract: DataContract, tmp_path: Path
) -> None:
    found = set()
    for name, share in (("same", 1.0), ("again", 1.0), ("other", 1.01)):
        path = tmp_path / f"{name}.parquet"
        amounts = payments["amount_minor"].to_numpy().copy()
        amounts[1000] = int(amounts[1000] * share) + (share > 1)
        payments.assign(amount_minor=amounts).to_parquet(path, row_group_size=300)
        found.add(rows_of(path, contract, limit=LIMIT).digest)
    assert len(found) == 2


@pytest.mark.usefixtures("on_disk")
def test_customers_whose_rows_do_not_fit_are_refused_before_they_are_read(
    parts: Path, contract: DataContract
) -> None:
    terms = terms_of(unit=PrivacyUnit.CUSTOMER, row_cap=3)
    with pytest.raises(ConfigurationError, match="the privacy unit is the customer") as refused:
        rows_of(parts, contract, limit=LIMIT, terms=terms, with_customers=True)
    assert "\n" not in str(refused.value)
    kept = rows_of(parts, contract, limit=None, with_customers=True).train
    assert isinstance(kept, TrainingTable)
    assert kept.customers is not None


@pytest.mark.usefixtures("on_disk")
def test_what_is_wrong_is_said_as_in_memory(
    payments: pd.DataFrame, contract: DataContract, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    payments.to_parquet(path)
    early = contract.model_copy(update={"train_until": int(payments["event_time"].min())})
    for each, text in (
        (early, "none of .* payments is mature"),
        (contract.model_copy(update={"judge_until": 2**31}), "judge_until"),
    ):
        for limit in (None, LIMIT):
            with pytest.raises(DataError, match=text):
                rows_of(path, each, limit=limit)


def test_rows_that_fit_are_read_at_once(
    parts: Path, payments: pd.DataFrame, contract: DataContract, tmp_path: Path
) -> None:
    table = DataContract(kind="table", features=(FeatureSpec(name="w"),))
    where = {"mapping": None, "directory": tmp_path}
    least = len(payments) * streamed._PAYMENT_BYTES
    assert least < LIMIT
    for each in (contract, table):
        assert bounded_rows(parts, each, memory_limit=LIMIT, **where) is None
    rows = rows_of(parts, contract, limit=LIMIT)
    assert isinstance(rows.train, TrainingTable)
    assert rows.piece_rows is None
    assert rows.digest == windows_digest(load_training_rows(parts, contract).windows)


def test_payments_of_a_recipe_in_memory_are_read_at_once_with_a_warning(
    parts: Path,
    contract: DataContract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(streamed, "_PAYMENT_BYTES", 1 << 30)
    where = {"mapping": None, "memory_limit": LIMIT, "directory": tmp_path}
    assert bounded_rows(parts, contract, **where) == Bounded(LIMIT, tmp_path)
    monkeypatch.setattr(streamed, "RECIPE", "another")
    assert bounded_rows(parts, contract, **where) is None
    assert f"recipe {RECIPE!r} is built in memory only" in caplog.text


@pytest.mark.e2e
@pytest.mark.usefixtures("on_disk")
def test_a_bank_whose_payments_do_not_fit_trains_with_others_to_the_same_model(
    make_banks: Callable[..., Banks],
    run_bank: Callable[..., Finished],
    payments: pd.DataFrame,
    contract: DataContract,
    tmp_path: Path,
) -> None:
    few = contract.model_copy(update={"features": contract_features()[:6], "select_until": None})
    parameters = {"num_boost_round": 2, "max_depth": 2, "max_bin": 8}
    banks = make_banks(contract=few, parameters=parameters)
    files = [tmp_path / f"{number}.parquet" for number in range(3)]
    customers = payments["customer_id"].astype("category").cat.codes % 3
    for number, file in enumerate(files):
        payments[customers == number].to_parquet(file, row_group_size=200)
    others = [banks.train(banks.names[place], files[place]) for place in (0, 2)]
    # This process has the patches.
    where = ("--state", banks.state(banks.names[1]), "--data", files[1], "--run", banks.run_id)
    own = run_bank("--quiet", "train", *where, "--memory-limit", "512MiB")
    assert [own.code, *(finish(other).code for other in others)] == [0, 0, 0], own.err
    whole = [load_training_rows(file, few).windows for file in files]
    pooled = PartedShard([LocalShard(windows.train) for windows in whole])
    expected = train(BoosterParams.parse(parameters), pooled, SoloCommunicator()).model.to_json()
    for name in banks.names:
        found = banks.state(name) / "runs" / banks.run_id / "model.json"
        assert found.read_bytes() == expected
    verdicts = [banks.record(name)["result"]["verdict"] for name in banks.names]
    assert verdicts == [verdicts[0]] * 3
    assert verdicts[0]["window"] == "judge"
    assert banks.record(banks.names[1])["result"]["rows"] == sum(
        count.rows for count in whole[1].counts.values()
    )
