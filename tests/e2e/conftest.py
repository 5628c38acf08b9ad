"""One watched federation for all tests of this folder."""

from collections.abc import Iterator

import pytest
from federations.watched import WatchedRun, watched_federation


@pytest.fixture(scope="session")
def watched_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedRun]:
    with watched_federation(tmp_path_factory.mktemp("federation")) as run:
        yield run
