"""One default world and one tiny world, made once per test process."""

import pandas as pd
import pytest

from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate

TINY = WorldConfig(seed=7, banks=3, customers=240, days=30)


@pytest.fixture(scope="session")
def tiny_config() -> WorldConfig:
    return TINY


@pytest.fixture(scope="session")
def default_banks() -> dict[str, pd.DataFrame]:
    """Make the banks of the default world; read only."""
    return dict(generate(WorldConfig()))


@pytest.fixture(scope="session")
def default_world(default_banks: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Put all banks into one table with a column ``bank``; read only."""
    return pd.concat(
        [frame.assign(bank=name) for name, frame in default_banks.items()], ignore_index=True
    )
