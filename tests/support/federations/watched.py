"""One real federation, watched: an aggregator and three bank processes, HTTP through a capture."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cohorts.exact import run_cohort
from cohorts.recording import RecordingCommunicator, Summed
from proxies.proxy import Proxy

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import Communicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.lab.local_federation.consortium import FIRST_EPOCH, Consortium, start_aggregator
from fraudfed.lab.local_federation.processes import ProgramGroup
from fraudfed.machine.usage import descendants
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, RunSpec

BANKS = ("bank_a", "bank_b", "bank_c")
PARAMETERS = {
    "num_boost_round": 3,
    "max_depth": 3,
    "max_bin": 16,
    "eta": 0.5,
    "subsample": 0.8,
    "colsample_bynode": 0.7,
    "seed": 5,
}
CATEGORIES = ("atm", "pos", "transfer", "web")
CONTRACT = DataContract(
    kind="table",
    label="label",
    features=(
        FeatureSpec(name="amount"),
        FeatureSpec(name="hour"),
        FeatureSpec(name="age_days"),
        FeatureSpec(name="channel", type=FeatureType.CATEGORICAL, categories=CATEGORIES),
    ),
)
SCHEMA = FeatureSchema(
    ("amount", "hour", "age_days", "channel"),
    (0, 0, 0, len(CATEGORIES)),
    ((), (), (), CATEGORIES),
)


def make_rows(n_rows: int = 1500) -> pd.DataFrame:
    """Rows with missing values and a category; frauds are large, at night, on young accounts."""
    rng = np.random.default_rng(11)
    amount = rng.lognormal(3, 1, n_rows).astype(np.float32)
    hour = rng.integers(0, 24, n_rows)
    age_days = rng.exponential(300, n_rows).astype(np.float32)
    age_days[rng.random(n_rows) < 0.2] = np.nan
    channel = rng.choice(CATEGORIES, n_rows)
    risk = -4 + 0.03 * amount + 1.5 * (hour < 6) + (channel == "web") + np.isnan(age_days)
    label = (rng.random(n_rows) < 1 / (1 + np.exp(-risk))).astype(np.int64)
    return pd.DataFrame(
        {"amount": amount, "hour": hour, "age_days": age_days, "channel": channel, "label": label}
    )


def split_rows(rows: pd.DataFrame, n_banks: int) -> list[pd.DataFrame]:
    """Deal rows out unequally; the last bank of three or more gets the fewest."""
    owner = np.random.default_rng(n_banks).integers(0, 2**n_banks - 1, len(rows))
    owner = np.floor(np.log2(owner + 1)).astype(int)
    return [rows[owner == bank] for bank in reversed(range(n_banks))]


def to_table(rows: pd.DataFrame) -> TrainingTable:
    features = rows[["amount", "hour", "age_days"]].to_numpy(dtype=np.float32)
    codes = pd.Categorical(rows["channel"], categories=list(CATEGORIES)).codes.astype(np.float32)
    labels = rows["label"].to_numpy(dtype=np.float32)
    return TrainingTable(SCHEMA, np.column_stack([features, codes]), labels)


def train_in_process(
    parts: list[pd.DataFrame], statistics: list[Summed] | None = None
) -> list[bytes]:
    """Train over an in-process cohort; return every bank's model bytes."""
    params = BoosterParams.parse(PARAMETERS)

    def program(bank: int, communicator: Communicator) -> bytes:
        if statistics is not None:
            communicator = RecordingCommunicator(communicator, statistics)
        return train(params, to_table(parts[bank]), communicator).model.to_json()

    return run_cohort(len(parts), program)


@dataclass(frozen=True)
class WatchedRun:
    """A finished run over real processes, and everything the aggregator was sent or keeps."""

    model_json: bytes
    run_id: str
    states: dict[str, Path]
    aggregator_state: Path
    aggregator_pid: int
    key_package: KeyPackage
    capture: Proxy
    parts: list[pd.DataFrame]
    work: Path
    statistics: list[Summed]

    def stored(self) -> list[bytes]:
        """Every file of the aggregator, and every cell of its database."""
        files = [path.read_bytes() for path in self.aggregator_state.rglob("*") if path.is_file()]
        database = next(self.aggregator_state.glob("*.db"))
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
            names = [name for (name,) in tables.fetchall()]
            rows = [row for name in names for row in connection.execute(f'SELECT * FROM "{name}"')]
        connection.close()
        cells = [
            cell if isinstance(cell, bytes) else str(cell).encode() for r in rows for cell in r
        ]
        return files + cells

    def memory(self) -> Iterator[bytes]:
        """Yield the writable memory of the aggregator's processes, region by region."""
        for pid in (self.aggregator_pid, *descendants(self.aggregator_pid)):
            regions = Path(f"/proc/{pid}/maps").read_text().splitlines()
            with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
                for region in regions:
                    span, rights = region.split()[:2]
                    if not rights.startswith("rw"):
                        continue
                    start, end = (int(part, 16) for part in span.split("-"))
                    try:
                        os.lseek(memory.fileno(), start, os.SEEK_SET)
                        yield memory.read(end - start)
                    except OSError:  # a region that the kernel keeps to itself, such as [vvar]
                        continue


@contextmanager
def watched_federation(work: Path) -> Iterator[WatchedRun]:
    """Run one federation in ``work``; its aggregator lives until the block ends."""
    logs = work / "logs"
    logs.mkdir()
    parts = split_rows(make_rows(), len(BANKS))
    statistics: list[Summed] = []
    train_in_process(parts, statistics)
    state = work / "aggregator"
    states = {name: work / name for name in BANKS}
    with ProgramGroup(logs=logs) as group:
        server, url = start_aggregator(group, state, logs=logs)
        consortium = Consortium(url, state / "operator.token", states, logs)
        with Proxy(url) as capture:
            consortium.enrol(bank_urls=dict.fromkeys(BANKS, capture.url))
            consortium.make_keys(key_bits=2048)
            spec = RunSpec(
                name="watched", key_epoch=FIRST_EPOCH, contract=CONTRACT, parameters=PARAMETERS
            )
            run_id = consortium.create_run(spec, file=work / "run.json")
            nodes = []
            for name, part in zip(BANKS, parts, strict=True):
                data = work / f"{name}.parquet"
                part.to_parquet(data, index=False)
                train = ["bank-node", "train", "--state", str(states[name]), "--run", run_id]
                nodes.append(group.start(name, [*train, "--data", str(data)]))
            for node in nodes:
                assert node.process.wait(240) == 0, node.last_error()
        models = [(states[name] / "runs" / run_id / "model.json").read_bytes() for name in BANKS]
        assert models[0] == models[1] == models[2]
        yield WatchedRun(
            model_json=models[0],
            run_id=run_id,
            states=states,
            aggregator_state=state,
            aggregator_pid=server.process.pid,
            key_package=KeyPackage.load(states[BANKS[0]] / "keys" / f"epoch-{FIRST_EPOCH}.key"),
            capture=capture,
            parts=parts,
            work=work,
            statistics=statistics,
        )
