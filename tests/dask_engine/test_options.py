"""Which clusters are refused before anything is opened, and how sizes are written."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bank_node.cli import cli
from fraudfed.dask_engine import cluster as cluster_module
from fraudfed.dask_engine.addresses import is_safe
from fraudfed.dask_engine.cluster import open_cluster
from fraudfed.dask_engine.options import ClusterOptions, TlsFiles
from fraudfed.errors import ConfigurationError

SAFE = ["tls://10.0.0.7:8786", "wss://dask.bank:443", "tcp://127.0.0.1:8786", "tcp://[::1]:8786"]
UNSAFE = [
    "tcp://10.0.0.7:8786",
    "10.0.0.7:8786",
    "ws://dask.bank:80",
    "ucx://10.0.0.7:1",
    # What begins like this machine is another one.
    "tcp://127.0.0.1.example.com:8786",
    "tcp://localhost.example.com:8786",
]


@pytest.mark.parametrize("address", [*SAFE, "localhost:8786"])
def test_an_encrypted_or_local_address_is_taken(address: str) -> None:
    assert is_safe(address)
    ClusterOptions(scheduler=address).check()


@pytest.mark.parametrize("address", UNSAFE)
def test_rows_travel_in_the_clear_only_if_somebody_has_said_so(address: str) -> None:
    assert not is_safe(address)
    with pytest.raises(ConfigurationError, match=r"would travel in the clear.*--dask-insecure"):
        ClusterOptions(scheduler=address).check()
    ClusterOptions(scheduler=address, insecure=True).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs --scheduler ADDRESS"),
        ({"workers": 0}, "--workers is 0, expected 1 to 1024"),
        ({"scheduler": "http://a:1"}, "expected an address as tls://host:8786"),
        ({"scheduler": "tls://a:1", "memory_limit": 5}, "--worker-memory is for a cluster on this"),
        ({"workers": 1, "tls": TlsFiles(*map(Path, "abc"))}, "--dask-tls is for a scheduler"),
        (
            {"scheduler": "tcp://127.0.0.1:1", "tls": TlsFiles(*map(Path, "abc"))},
            "which is without TLS; write tls://",
        ),
        ({"workers": 1, "dashboard": "0.0.0.0:8787"}, "asks nobody for a password"),
        ({"workers": 1, "dashboard": "8787"}, "expected HOST:PORT"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ClusterOptions(**options).check()


def test_three_files_of_tls_have_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    a = tmp_path / "a"
    assert TlsFiles.parse(f"{a},{a},{a}") == TlsFiles(a, a, a)
    with pytest.raises(ConfigurationError, match="expected three files"):
        TlsFiles.parse(f"{a},{a}")
    with pytest.raises(ConfigurationError, match="there is no file"):
        TlsFiles.parse(f"{a},{a},{tmp_path / 'b'}")


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(cluster_module.importlib, "import_module", absent)
    with (
        pytest.raises(ConfigurationError, match=r"pip install 'fraudfed\[dask\]'"),
        open_cluster(ClusterOptions(workers=1)),
    ):
        pass


@pytest.mark.parametrize("command", ["train", "search"])
def test_an_option_of_a_cluster_needs_the_engine(command: str) -> None:
    arguments = [command, "--state", "s", "--data", "d", "--workers", "2"]
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, ConfigurationError)
    assert "--workers is for --engine dask" in str(result.exception)
