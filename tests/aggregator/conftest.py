"""Fixtures of the aggregator's tests: key, state directory, application, federation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federations import postgres
from federations.fake_banks import DocumentedClient, Federation, TestKey, make_spec
from federations.postgres import Cluster
from flask import Flask
from phe import paillier

from aggregator.config import ServiceConfig
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from fraudfed.paillier.keys import PublicKey


@pytest.fixture(scope="session")
def key() -> TestKey:
    public, private = paillier.generate_paillier_keypair(n_length=256)
    return TestKey(PublicKey(public.n, insecure_allow_small_key=True), public, private)


@pytest.fixture
def spec() -> dict[str, Any]:
    return make_spec()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module with ``STORES`` on each of these, if they have a store."""
    stores = getattr(metafunc.module, "STORES", None)
    if stores is not None and "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", stores, indirect=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start a PostgreSQL server of this session's own."""
    with postgres.started() as cluster:
        yield cluster


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Return None for SQLite, the URL of an empty database for PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.url()
        yield url
        cluster.drop(url)


@pytest.fixture
def state(tmp_path: Path, database_url: str | None) -> StateDirectory:
    state = StateDirectory(tmp_path / "state")
    state.create(database_url)
    return state


@pytest.fixture
def store(state: StateDirectory) -> Iterator[Store]:
    store = state.open_store()
    yield store
    store.close()


@pytest.fixture
def waiters() -> Waiters:
    return Waiters()


@pytest.fixture
def app(store: Store, waiters: Waiters) -> Flask:
    config = ServiceConfig(
        insecure_allow_small_keys=True, max_body_bytes=64 * 1024, max_json_bytes=16 * 1024
    )
    return create_app(config, store, waiters)


@pytest.fixture
def federation(app: Flask, state: StateDirectory, key: TestKey) -> Federation:
    token = state.operator_token.read_text().strip()
    return Federation(DocumentedClient(app), token, key)
