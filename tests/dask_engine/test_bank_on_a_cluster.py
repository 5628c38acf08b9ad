"""A bank whose rows lie on a cluster, in a federation with banks whose rows do not."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from federations.watched import BANKS, CONTRACT, PARAMETERS, make_rows, split_rows, to_table

from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.lab.local_federation.run import open_federation
from fraudfed.parameters import BoosterParams

pytestmark = pytest.mark.e2e


def write_in_parts(rows: pd.DataFrame, folder: Path) -> Path:
    """Write a directory of files: one with several row groups, one without a row, one more."""
    folder.mkdir()
    table = pa.Table.from_pandas(rows, preserve_index=False)
    half = table.num_rows // 2
    pa_parquet.write_table(table.slice(0, half), folder / "a.parquet", row_group_size=100)
    pa_parquet.write_table(table.slice(0, 0), folder / "b.parquet")
    pa_parquet.write_table(table.slice(half), folder / "c.parquet")
    return folder


def test_one_bank_on_a_cluster_makes_the_model_of_all_on_their_own_machines(tmp_path: Path) -> None:
    rows = make_rows()
    files = {}
    for bank, part in zip(BANKS, split_rows(rows, len(BANKS)), strict=True):
        files[bank] = tmp_path / f"{bank}.parquet"
        part.to_parquet(files[bank], index=False)
    files[BANKS[0]] = write_in_parts(pd.read_parquet(files[BANKS[0]]), tmp_path / "many")
    with open_federation(BANKS, key_bits=2048, work=tmp_path / "work") as federation:
        outcome = federation.train(
            files,
            name="spread",
            contract=CONTRACT,
            parameters=PARAMETERS,
            threads=1,
            engines={BANKS[0]: ("--engine", "dask", "--workers", "2", "--dashboard", "off")},
        )
    expected = train(BoosterParams.parse(PARAMETERS), to_table(rows), SoloCommunicator())
    assert outcome.result == expected.model.to_json()
    log = (tmp_path / "work" / "logs").glob(f"*{BANKS[0]}*spread*")
    assert "Dask cluster: 2 workers, on this machine" in "".join(p.read_text() for p in log)
