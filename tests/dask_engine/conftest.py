"""A cluster of two processes, started once for all tests that need a real one."""

from collections.abc import Iterator
from typing import Any

import pytest

from fraudfed.dask_engine.cluster import open_cluster
from fraudfed.dask_engine.options import ClusterOptions


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    with open_cluster(ClusterOptions(workers=2)) as client:
        yield client
