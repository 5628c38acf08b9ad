"""A bank whose payments lie on a cluster, in a run with banks that have theirs in memory."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dask_programs import cluster_elsewhere
from federations.bank_process import ENVIRONMENT, finish
from federations.bank_states import Banks, serving

from bank_node.data.contract import load_training_rows
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.features import RECIPE, contract_features
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, LabelHorizon, RunSpec

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
DAY = 86_400
PARAMETERS = {"num_boost_round": 2, "max_depth": 2, "max_bin": 8, "eta": 0.5}
#: Rows, base score, four passes for the cuts; then two rounds for each tree.
SECOND_TREE = 6 + 2 + 2


def write_payments(home: Path) -> tuple[list[Path], DataContract]:
    """Write three banks' payments; the first bank's in parts, one of which is empty."""
    home.mkdir()
    paths = []
    for place, (_, rows) in enumerate(
        generate(WorldConfig(seed=3, banks=3, customers=60, days=14))
    ):
        is_fraud = np.arange(len(rows)) % 17 == 0
        whole = rows.assign(
            is_fraud=is_fraud.astype(np.int8),
            label_time=(rows["event_time"] + 3_600).where(is_fraud, rows["label_time"]),
        )
        paths.append(home / f"{place}")
        paths[-1].mkdir()
        half = len(whole) // 2
        pieces = (whole[:half], whole[:0], whole[half:]) if place == 0 else (whole,)
        for number, piece in enumerate(pieces):
            piece.to_parquet(paths[-1] / f"{number}.parquet", index=False)
    start = int(pd.read_parquet(paths[0])["event_time"].min()) // DAY * DAY
    return paths, DataContract(
        kind="transactions",
        features=contract_features(),
        recipe=RECIPE,
        label_horizon_days=LabelHorizon(days=1),
        train_until=start + 9 * DAY,
    )


def pooled_model(paths: list[Path], contract: DataContract) -> bytes:
    """Train on the rows of all banks in one table."""
    tables = [load_training_rows(path, contract).windows.train for path in paths]
    features, labels = (
        np.concatenate([getattr(table, name) for table in tables])
        for name in ("features", "labels")
    )
    table = replace(tables[0], features=features, labels=labels)
    return train(BoosterParams.parse(PARAMETERS), table, SoloCommunicator()).model.to_json()


def test_a_bank_on_a_cluster_that_is_killed_and_continues_makes_the_model_of_all(
    tmp_path: Path,
) -> None:
    paths, contract = write_payments(tmp_path / "payments")
    scratch = tmp_path / "members"
    scratch.mkdir()
    with (
        serving(tmp_path, scratch) as aggregator,
        cluster_elsewhere(tmp_path / "elsewhere") as elsewhere,
    ):
        elsewhere.have(2)
        banks = Banks(tmp_path / "banks", aggregator, KeyPackage.generate(2048))
        banks.run_id = aggregator.create_run(
            RunSpec(
                name="spread",
                key_epoch=banks.key_epoch.epoch,
                contract=contract,
                parameters=PARAMETERS,
            )
        )
        others = [banks.train(banks.names[place], paths[place]) for place in (1, 2)]
        name = banks.names[0]
        killed = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.killed_bank_child", str(SECOND_TREE)),
                *("--quiet", "--log-format", "json", "train", "--run", banks.run_id),
                *("--state", str(banks.state(name)), "--data", str(paths[0]), *elsewhere.engine),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=ROOT,
        )
        ended = finish(killed, 240)
        assert ended.code == -9, ended.err
        assert ended.err.count('"tree finished"') == 1
        # Nor are the workers that it worked on there any more.
        elsewhere.kill_workers()
        elsewhere.have(1)
        again = finish(banks.train(name, paths[0], *elsewhere.engine), 240)
        assert again.code == 0, again.err
        assert f"Dask cluster: 1 workers, {elsewhere.address}" in again.err
        for other in others:
            assert finish(other).code == 0
    models = {
        (banks.state(name) / "runs" / banks.run_id / "model.json").read_bytes()
        for name in banks.names
    }
    assert models == {pooled_model(paths, contract)}
