"""Keys and cohorts of the attacks."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attack_kit.entering import CONTRACT
from attack_kit.entering import Banks as EnteringBanks
from attack_kit.liar import BANKS, Liar
from attack_kit.sums import AttackedSums
from federations.lied_to import KEY_BITS, Place, found, opened
from federations.live import LiveFederation, served
from federations.live_cohort import LiveCohort
from proxies.proxy import Proxy

from bank_node.data.contract import load_training_rows
from fraudfed.boosting.table import TrainingTable
from fraudfed.consortium.key_package import KeyPackage


@pytest.fixture(scope="session")
def package() -> KeyPackage:
    """Make a key that protects nothing: the attacks here do not go against its size."""
    return KeyPackage.generate(512, insecure_allow_small_key=True)


@pytest.fixture
def make_sums(package: KeyPackage) -> Callable[..., AttackedSums]:
    def make(n_banks: int = 3, **options: object) -> AttackedSums:
        return AttackedSums(package, tuple(f"bank-{i}" for i in range(n_banks)), **options)

    return make


@pytest.fixture(scope="session")
def packages() -> list[KeyPackage]:
    """Make keys of the smallest accepted size, for all ceremonies here: they cost seconds."""
    return [KeyPackage.generate(KEY_BITS) for _ in range(2)]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, packages: list[KeyPackage]) -> Path:
    """Return an aggregator's and three banks' state directories, to be copied."""
    work = tmp_path_factory.mktemp("template")
    found(work, packages)
    return work


@pytest.fixture(scope="session")
def ceremony(
    tmp_path_factory: pytest.TempPathFactory, template: Path, packages: list[KeyPackage]
) -> Iterator[Place]:
    work = tmp_path_factory.mktemp("ceremony")
    shutil.copytree(template, work, dirs_exist_ok=True)
    with opened(work, packages) as place:
        yield place


@pytest.fixture
def place(ceremony: Place, tmp_path: Path) -> Iterator[Place]:
    """Copy the state directories: what one test does to them is not seen by another."""
    own = Place(ceremony.live, ceremony.proxy, tmp_path, ceremony.supply)
    for name, path in ceremony.states.items():
        own.states[name] = tmp_path / name
        shutil.copytree(path, own.states[name])
    yield own
    own.proxy.before = own.proxy.after = None


@pytest.fixture
def apart(tmp_path: Path, template: Path, packages: list[KeyPackage]) -> Iterator[Place]:
    """Have a consortium for one test, which may change members and epochs."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    with opened(tmp_path, packages[::-1]) as place:
        yield place


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, package: KeyPackage) -> Iterator[LiveFederation]:
    with served(tmp_path_factory.mktemp("reveal") / "aggregator", package, *BANKS) as made:
        yield made


@pytest.fixture
def liar(live: LiveFederation) -> Iterator[Liar]:
    with Proxy(live.url) as proxy:
        yield Liar(proxy, live.package)


@pytest.fixture
def cohort(live: LiveFederation, liar: Liar, tmp_path: Path) -> Iterator[LiveCohort]:
    run_id = live.start_run(1, max_rejoins=9)
    made = LiveCohort(live, liar.proxy.url, run_id, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TrainingTable:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    amounts = np.arange(1.0, 9.0)
    pd.DataFrame({"amount": amounts, "is_fraud": (amounts > 4).astype(int)}).to_csv(
        path, index=False
    )
    return load_training_rows(path, CONTRACT).table


@pytest.fixture
def banks(tmp_path: Path, package: KeyPackage, table: TrainingTable) -> EnteringBanks:
    return EnteringBanks(tmp_path, package, table)
