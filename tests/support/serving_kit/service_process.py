"""``bank-node serve`` as a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx


class ServiceProcess:
    """A running service; its end is in order, or by ``kill``.

    Parameters
    ----------
    state : Path
    options : str
        Further options of the command.
    """

    def __init__(self, state: Path, *options: str) -> None:
        self.log = state.parent / "service.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "bank_node.cli", "serve"),
                    *("--state", str(state), "--port", "0", "--json", *options),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.announced = json.loads(line)
        self.url = self.announced["url"]
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        """Send JSON."""
        return self.client.post(path, json=body, **more)

    def swap_by_signal(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Stop in order, and return the exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code
