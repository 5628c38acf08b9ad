"""A PostgreSQL cluster of the tests' own, on a Unix socket and a free port of this machine."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

_USER = "postgres"
#: Trusted on this machine only; given in every URL, so that tests see that it is never shown.
PASSWORD = "pass-word-of-the-tests"


def binaries() -> Path | None:
    """Return the directory of the newest server programs, None if there are none."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).resolve().parent


@dataclass
class Cluster:
    """A running server; ``url`` makes an empty database."""

    home: Path
    bin: Path
    port: int
    user: str | None
    """Who runs it, None for the user of the tests."""

    def run(self, program: str, *arguments: str) -> None:
        with (self.home / "programs.log").open("ab") as log:
            done = subprocess.run(
                [str(self.bin / program), *arguments],
                user=self.user,
                # To a file: a pipe would stay open as long as the server runs.
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, (program, (self.home / "programs.log").read_text())

    def control(self, *arguments: str) -> None:
        log = str(self.home / "server.log")
        self.run("pg_ctl", "-D", str(self.home / "data"), "-l", log, "-w", *arguments)

    def restart(self) -> None:
        """Stop as a crash would, and start again."""
        self.control("restart", "-m", "immediate")

    def url_of(self, database: str) -> str:
        return f"postgresql://{_USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def url(self) -> str:
        """Return the URL of a new empty database."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            # Not C: what the aggregator orders must not depend on the language.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url_of(name)

    def drop(self, url: str) -> None:
        name = url.rpartition("/")[2]
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def started() -> Iterator[Cluster]:
    """Start a cluster, and remove it at the end; skip where that cannot be done."""
    found = binaries()
    if found is None:
        pytest.skip("no PostgreSQL server programs here: install Debian's package postgresql")
    user = None
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres here")
    home = Path(tempfile.mkdtemp(prefix="fraudfed-postgres-"))
    try:
        if user is not None:
            shutil.chown(home, user)
        cluster = Cluster(home, found, _free_port(), user)
        cluster.run(
            "initdb",
            *("-D", str(home / "data"), "-U", _USER, "--auth", "trust"),
            *("-E", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-sync"),
        )
        with (home / "data" / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {cluster.port}\nlisten_addresses = '127.0.0.1'\n"
                f"unix_socket_directories = '{home}'\nshared_buffers = 32MB\n"
                # What a killed server had committed is with the system; these tests cut no power.
                "fsync = off\nfull_page_writes = off\nautovacuum = off\n"
            )
        cluster.control("start")
        try:
            yield cluster
        finally:
            cluster.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(home, ignore_errors=True)


#: Runs a test on PostgreSQL only (``database_url`` in tests/aggregator/conftest.py).
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
#: Runs a test on both stores; modules with ``STORES`` do so with every test that has a store.
on_both_stores = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
