"""A real nginx with a configuration of ours, in a directory of the tests' own."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: What stands in the documentation as it is used.
PAGE = ROOT / "docs" / "operations.md"
CONFIGURATION = ROOT / "deploy" / "nginx.conf"

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def deployed_server() -> str:
    """Return the server of ``deploy/nginx.conf``."""
    found = re.search(r"\n(    server \{\n.*?\n    \}\n)", CONFIGURATION.read_text(), re.DOTALL)
    assert found
    return found[1]


def documented_server() -> str:
    """Return the server under a path that the page on operating shows."""
    found = re.search(r"\n(    server \{\n.*?\n    \}\n)", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def around(*blocks: str, upstream: str, home: Path) -> str:
    """Return ``deploy/nginx.conf`` with these blocks in place of its server.

    Parameters
    ----------
    upstream : str
        Host and port of the aggregator.
    home : Path
        Where nginx keeps bodies.
    """
    text = CONFIGURATION.read_text().replace("server aggregator:8765", f"server {upstream}")
    whole, ours = (one.replace("/tmp/", f"{home}/") for one in (text, deployed_server()))
    return whole.replace(ours, "\n".join(blocks))


def in_the_clear(server: str, port: int) -> str:
    """Return a server that listens on loopback at a port, without TLS."""
    server = re.sub(r"\n *ssl_[^;]*;", "", server)
    return re.sub(r"listen [^;]*;", f"listen 127.0.0.1:{port};", server)


@contextlib.contextmanager
def started(configuration: str, home: Path, *ports: int) -> Iterator[Path]:
    """Run nginx until the block ends; its log of errors is given.

    Parameters
    ----------
    ports : int
        That it listens on.
    """
    file, log = home / "nginx.conf", home / "error.log"
    file.write_text(configuration)
    # Its processes serve as who started it: their files are in a directory of the tests' own.
    options = "daemon off;" + (" user root;" if os.getuid() == 0 else "")
    command = ["nginx", "-e", "stderr", "-c", str(file), "-p", str(home), "-g", options]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors)
    try:
        deadline = time.monotonic() + 60
        for port in ports:
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
        yield log
    finally:
        process.terminate()
        process.wait(timeout=30)
