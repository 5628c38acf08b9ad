"""Start ``bank-node`` as a process of its own, and see how it ended."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
#: As the demo does: many processes share the machine's cores.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """Return the one error line."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def start_bank(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(BIN / "bank-node"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def finish(process: "subprocess.Popen[str]", seconds: float = 120) -> Finished:
    out, err = process.communicate(timeout=seconds)
    return Finished(process.returncode, out, err)
