"""Payments whose features workers build: rows, outcomes, digest and model of one machine."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from private_tables import terms_of

from bank_node.data.contract import TableShares, TrainingRows, load_training_rows, open_rows
from bank_node.data.digest import windows_digest
from bank_node.data.spread_payments import can_spread, spread_payments
from bank_node.jobs.rows import JobRows, job_rows
from bank_node.run.context import RunOptions
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.resume.state import TreeProgress
from fraudfed.boosting.train import train
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.communicator import SoloCommunicator
from fraudfed.dask_engine.shard import DaskShard
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.parameters import BoosterParams
from fraudfed.reading.query import Query
from fraudfed.search.selection import SelectRows
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, LabelHorizon, Population

pytestmark = pytest.mark.e2e

DAY = 86_400
PARAMS = BoosterParams(num_boost_round=3, max_depth=3)


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    _, rows = next(iter(generate(WorldConfig(seed=3, banks=3, customers=100, days=24))))
    # Frauds in every window and part, each reported an hour later; some were stopped.
    is_fraud = np.arange(len(rows)) % 17 == 0
    rows = rows.assign(
        is_fraud=is_fraud.astype(np.int8),
        label_time=(rows["event_time"] + 3_600).where(is_fraud, rows["label_time"]),
        is_blocked=(np.arange(len(rows)) % 29 == 0).astype(np.int8),
        importance=1.0 + np.arange(len(rows)) % 3,
    )
    return rows.sample(frac=1.0, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, payments: pd.DataFrame) -> Path:
    """Uneven files, in no order of time, one of them empty."""
    folder = tmp_path_factory.mktemp("payments") / "parts"
    folder.mkdir()
    for number, (start, stop) in enumerate([(0, 500), (500, 500), (500, 520), (520, None)]):
        payments.iloc[start:stop].to_parquet(folder / f"{number}.parquet", row_group_size=400)
    return folder


@pytest.fixture(scope="module")
def contract(payments: pd.DataFrame) -> DataContract:
    start = int(payments["event_time"].min()) // DAY * DAY
    return DataContract(
        kind="transactions",
        features=contract_features(),
        recipe=RECIPE,
        label_horizon_days=LabelHorizon(days=1),
        train_until=start + 14 * DAY,
        select_until=start + 19 * DAY,
        judge_until=start + 24 * DAY,
        weight="importance",
        max_weight=3.0,
    )


def trained(rows: Any, validation: Any) -> tuple[Model, list[TreeProgress]]:
    progress: list[TreeProgress] = []
    solo = SoloCommunicator()
    model = train(
        PARAMS, rows, solo, validation=validation, on_tree=progress.append, threads=1
    ).model
    assert len(model.trees) == 3
    return model, progress


def check(cluster: Any, data: Path, contract: DataContract, whole: TrainingRows) -> None:
    windows = whole.windows
    found = spread_payments(cluster, open_rows(data, contract, None), contract, None, shared=None)
    assert found.counts == windows.counts
    assert found.digest == windows_digest(windows)
    assert windows.select is not None
    assert windows.judge is not None
    assert found.select is not None
    assert found.judged is not None
    assert found.select.weight == SelectRows.of(windows.select, threads=1).weight > 0
    outcomes, expected = found.judged.outcomes, windows.judge.outcomes
    for name, values in vars(expected).items():
        if name == "cells":
            assert outcomes.cells.keys() == values.keys()
            for cell in values:
                np.testing.assert_array_equal(outcomes.cells[cell], values[cell])
        else:
            np.testing.assert_array_equal(getattr(outcomes, name), values)
    model, metrics = trained(found.train, found.validation)
    local, expected_metrics = trained(windows.train, windows.validation)
    assert model.to_json() == local.to_json()
    assert metrics == expected_metrics
    margins = predict_margins(local, windows.judge.features, threads=1)
    np.testing.assert_array_equal(found.judged.margins(model), margins)


def test_payments_on_workers_give_the_model_of_one_machine(
    cluster: Any, parts: Path, contract: DataContract
) -> None:
    check(cluster, parts, contract, load_training_rows(parts, contract))


def test_so_they_do_in_a_population_of_which_compromised_ones_are_left_out(
    cluster: Any, parts: Path, contract: DataContract
) -> None:
    few = contract.model_copy(
        update={
            "population": Population(channels=("pos", "ecommerce")),
            "exclude_known_compromised": True,
        }
    )
    whole = load_training_rows(parts, few)
    assert whole.windows.counts["judge"].known_compromised
    check(cluster, parts, few, whole)


def test_a_job_takes_the_same_rows_wherever_they_are_worked_on(
    cluster: Any, payments: pd.DataFrame, contract: DataContract, tmp_path: Path
) -> None:
    # A column of the consortium's own makes groups of payments that are judged.
    modes = FeatureSpec(
        name="entry_mode",
        type=FeatureType.CATEGORICAL,
        categories=("chip", "magstripe"),
        description="how the card was read",
        unit="code",
    )
    own = contract.model_copy(update={"features": (*contract.features, modes)})
    entry_mode = np.array(["chip", "magstripe", None])[np.arange(len(payments)) % 3]
    data = tmp_path / "payments.parquet"
    payments.assign(entry_mode=entry_mode).to_parquet(data, row_group_size=400)
    run = SimpleNamespace(contract=own)

    def rows_on(client: Any, **given: Any) -> JobRows:
        options = RunOptions(data, cluster=client)
        context: Any = SimpleNamespace(run=run, options=options)
        return job_rows(context, TableShares(), shared=None, **given)

    terms = terms_of(metric_share=0.25)
    spread, local = rows_on(cluster, terms=terms), rows_on(None, terms=terms)
    for noised in (spread.judging.noised, local.judging.noised):
        assert noised is not None
    assert vars(spread.judging.noised.release) == vars(local.judging.noised.release)  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match=r"--engine dask, and the privacy unit is the cus"):
        rows_on(cluster, with_customers=True)
    assert isinstance(spread.train, DaskShard)
    assert (spread.digest, spread.n_rows) == (local.digest, local.n_rows)
    for judging in (spread.judging, local.judging):
        assert judging.rows is not None
    cells, expected = (each.judging.rows.outcomes.cells for each in (spread, local))  # type: ignore[union-attr]
    assert cells.keys() == expected.keys() >= {"entry_mode", "channel"}
    for name in expected:
        np.testing.assert_array_equal(cells[name], expected[name])
    assert spread.judging.plan == local.judging.plan


def test_what_one_machine_refuses_is_refused(
    cluster: Any,
    payments: pd.DataFrame,
    contract: DataContract,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(rows: pd.DataFrame, of: DataContract = contract) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for number, part in enumerate((rows[:300], rows[300:])):
            part.to_parquet(folder / f"{number}.parquet")
        with pytest.raises(DataError) as error:
            spread_payments(cluster, open_rows(folder, of, None), of, None, shared=None)
        return str(error.value)

    assert "no row in any" in refused(payments[:0])
    assert "'is_fraud' and 'label_time' are missing" in refused(
        payments.drop(columns=["is_fraud", "label_time"])
    )
    twice = payments[:400].assign(
        transaction_id=[*payments["transaction_id"][:399], payments["transaction_id"][0]]
    )
    with caplog.at_level(logging.DEBUG):
        assert "occurs more than once" in refused(twice)
    negative = payments[:400].assign(amount_minor=[*payments["amount_minor"][:399], -77_777])
    with caplog.at_level(logging.DEBUG):
        assert "1.parquet" in refused(negative)
    # What is wrong with a row comes back as a value; no worker logs it.
    assert "77777" not in str(cluster.get_worker_logs()) + caplog.text
    assert "ends on" in refused(payments[payments["event_time"] < contract.train_until])
    late = contract.model_copy(update={"train_from": contract.train_until - DAY // 2})
    assert "none of" in refused(payments, late)


def test_payments_that_workers_cannot_build_are_known(parts: Path, contract: DataContract) -> None:
    file = open_rows(parts, contract, None)
    assert can_spread(parts, file, contract)
    inbound = contract.model_copy(update={"recipe": INBOUND_RECIPE})
    assert not can_spread(parts, file, inbound)
    # The answer to a query lies on this machine alone.
    assert not can_spread(Query("postgresql://here/db", "SELECT 1"), file, contract)
