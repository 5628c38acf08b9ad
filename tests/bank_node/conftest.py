"""A real aggregator process, keys, and small data for the tests of the bank node."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from federations.bank_process import Finished
from federations.bank_states import Aggregator, Banks, serving
from federations.summing_banks import SummingBanks

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, RunSpec


@pytest.fixture(scope="session")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    root = tmp_path_factory.mktemp("aggregator")
    with serving(root, tmp_path_factory.mktemp("members")) as found:
        yield found


@pytest.fixture(scope="session")
def small_package() -> KeyPackage:
    """Make a key that protects nothing, for tests that call Python directly."""
    return KeyPackage.generate(256, insecure_allow_small_key=True)


@pytest.fixture(scope="session")
def key_package() -> KeyPackage:
    """Make the smallest key that the programs accept."""
    return KeyPackage.generate(2048)


@pytest.fixture
def make_cohort(
    aggregator: Aggregator, make_spec: Any, small_package: KeyPackage, tmp_path: Path
) -> Callable[..., SummingBanks]:
    def make(size: int = 3) -> SummingBanks:
        return SummingBanks(aggregator, make_spec, small_package, size, tmp_path)

    return make


CONTRACT = DataContract(
    kind="table",
    label="label",
    features=(
        FeatureSpec(name="amount"),
        FeatureSpec(name="age", nullable=False),
        FeatureSpec(name="channel", type=FeatureType.CATEGORICAL, categories=("pos", "web")),
    ),
)


@pytest.fixture
def contract() -> DataContract:
    return CONTRACT


MakeSpec = Callable[..., RunSpec]


@pytest.fixture
def make_spec() -> MakeSpec:
    def make(key_epoch: int = 1, **changes: Any) -> RunSpec:
        settings: dict[str, Any] = {
            "name": "test",
            "key_epoch": key_epoch,
            "parameters": {"num_boost_round": 2, "max_depth": 2, "max_bin": 8},
            "contract": CONTRACT,
        }
        return RunSpec(**{**settings, **changes})

    return make


@pytest.fixture
def make_banks(
    tmp_path: Path, aggregator: Aggregator, key_package: KeyPackage, make_spec: MakeSpec
) -> Callable[..., Banks]:
    """Make a consortium of its own, and a run for it."""

    def make(n_banks: int = 3, **changes: Any) -> Banks:
        banks = Banks(tmp_path, aggregator, key_package, n_banks)
        spec = make_spec(banks.key_epoch.epoch, **changes)
        banks.contract = spec.contract
        banks.run_id = aggregator.create_run(spec)
        return banks

    return make


MakeRows = Callable[..., pd.DataFrame]


@pytest.fixture
def make_rows() -> MakeRows:
    def make(seed: int = 0, n_rows: int = 60) -> pd.DataFrame:
        """Rows that meet ``CONTRACT``; large amounts on the web are fraud more often."""
        rng = np.random.default_rng(seed)
        amount = rng.lognormal(3, 1, n_rows).round(2)
        channel = rng.choice(["pos", "web"], n_rows)
        risk = (amount > 20) * 0.4 + (channel == "web") * 0.3
        label = (rng.random(n_rows) < risk).astype(np.int64)
        label[:2] = (0, 1)
        amount[5] = np.nan
        return pd.DataFrame(
            {
                "amount": amount,
                "age": rng.integers(18, 90, n_rows),
                "channel": channel,
                "label": label,
                "note": "not used",
            }
        )

    return make


@pytest.fixture
def restored_process() -> Iterator[None]:
    """Undo what ``main`` does to the whole process: log handlers and the handling of SIGTERM."""
    loggers = [logging.getLogger(name) for name in ("bank_node", "fraudfed")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def run_bank(capfd: pytest.CaptureFixture[str], restored_process: None) -> Callable[..., Finished]:
    """Run the command in this process: the same ``main``, without a second of imports each."""
    from bank_node.cli import main

    def run(*arguments: str | Path) -> Finished:
        previous = sys.argv
        sys.argv = ["bank-node", *map(str, arguments)]
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as stopped:
                main()
        finally:
            sys.argv = previous
        out, err = capfd.readouterr()
        code = stopped.value.code
        return Finished(code if isinstance(code, int) else 0, out, err)

    return run
