"""The command ``aggregator``: as real processes over real HTTP, and in this process."""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx

from aggregator.cli import main
from aggregator.service.state_directory import StateDirectory
from federations.commands import run_in_process
from federations.fake_banks import Federation, HttpCall, TestKey

COMMAND = str(Path(sys.executable).with_name("aggregator"))


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process: what it prints and its exit code."""
    return run_in_process(main, "aggregator", *arguments)


def run_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end."""
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


class ServerProcess(HttpCall):
    """``aggregator serve`` in a process group of its own; also a ``Call``."""

    def __init__(
        self,
        state: Path,
        *,
        port: int = 0,
        group_options: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
        verify: ssl.SSLContext | bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = state / "serve.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    COMMAND,
                    *group_options,
                    "serve",
                    "--state",
                    str(state),
                    "--port",
                    str(port),
                    "--insecure-allow-small-keys",
                    *options,
                ],
                env={**os.environ, **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert re.match("aggregator listening on https?://127.0.0.1:", line), self.log()
        self.url = line.rsplit(" ", 1)[1].strip()
        super().__init__(self.url, verify=verify)

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    def log(self) -> str:
        return self._log.read_text()

    def federation(self, state: Path, key: TestKey) -> Federation:
        return Federation(self, (state / "operator.token").read_text().strip(), key)

    def metric(self, sample: str, state: StateDirectory) -> float:
        """Return a sample of the metrics, 0 if there is none; ``sample`` is name and labels."""
        token = state.operator_token.read_text().strip()
        text = self("GET", "/metrics", token=token).body.decode()
        found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
        return 0.0 if found is None else float(found[1])

    def await_metric(self, sample: str, state: StateDirectory, value: float) -> None:
        """Wait until a sample has come to a value."""
        deadline = time.monotonic() + 60
        while (found := self.metric(sample, state)) < value:
            assert time.monotonic() < deadline, f"{sample} is {found}, expected {value}"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill all of it, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self._end()

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """End it politely and return its exit code."""
        self.process.send_signal(with_signal)
        return self._end()

    def _end(self) -> int:
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.http.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


def assert_fails(result: object, code: int, *words: str) -> None:
    assert result.returncode == code, result  # type: ignore[attr-defined]
    text = result.stderr  # type: ignore[attr-defined]
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    for word in words:
        assert word in text


def write_secret(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, as the programs want a token's."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
