"""The aggregator's memory over the number of banks: one product, however many there are."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fraudfed.bench.light_banks import LightCohort
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import TransportError
from fraudfed.paillier.keys import DEFAULT_KEY_BITS

__all__ = ["AggregatorMemory", "run_aggregator_memory"]

#: Of a level of a tree in `fraudfed bench train`: 720 in a tree of 5 rounds.
DEFAULT_CIPHERTEXTS = 150
_LISTENING = "aggregator listening on "


@dataclass(frozen=True)
class AggregatorMemory:
    """Memory of the process that serves, in one run.

    Attributes
    ----------
    banks, ciphertexts, rounds, key_bits : int
    before_bytes, peak_bytes : int
        Resident when all banks have joined, and the most during the rounds.
    cpu_seconds : float
        Of the rounds.
    """

    banks: int
    ciphertexts: int
    rounds: int
    key_bits: int
    before_bytes: int
    peak_bytes: int
    cpu_seconds: float

    def to_json(self) -> str:
        """Return every field as one JSON object."""
        return json.dumps(asdict(self), indent=2)


def run_aggregator_memory(
    banks: int,
    *,
    ciphertexts: int = DEFAULT_CIPHERTEXTS,
    rounds: int = 20,
    package: KeyPackage | None = None,
) -> AggregatorMemory:
    """Run rounds of light banks against a real ``aggregator serve``, all banks at once.

    Parameters
    ----------
    banks : int
    ciphertexts : int
        In each contribution.
    rounds : int
    package : KeyPackage or None
        None makes one with a key of the default size.
    """
    package = KeyPackage.generate(DEFAULT_KEY_BITS) if package is None else package
    with (
        tempfile.TemporaryDirectory(prefix="fraudfed-memory-") as work,
        _aggregator(Path(work), threads=banks + 8) as (url, token, main),
    ):
        cohort = LightCohort.enrol(url, token, package, banks=banks)
        payload = cohort.payload(ciphertexts)
        process = _worker_of(main)
        _forget_peak(process)
        before, cpu = _resident_bytes(process, "VmRSS"), _cpu_seconds(process)
        with ThreadPoolExecutor(max_workers=banks) as pool:
            for number in range(rounds):
                cohort.sum_round(number, payload, pool)
        peak, cpu = _resident_bytes(process, "VmHWM"), _cpu_seconds(process) - cpu
        cohort.close()
    return AggregatorMemory(
        banks=banks,
        ciphertexts=ciphertexts,
        rounds=rounds,
        key_bits=package.public_key.key_bits,
        before_bytes=before,
        peak_bytes=peak,
        cpu_seconds=round(cpu, 3),
    )


@contextmanager
def _aggregator(work: Path, *, threads: int) -> Iterator[tuple[str, str, int]]:
    """Serve a new aggregator; give its URL, the operator's token and its main process."""
    state = work / "aggregator"
    _run(["init", "--state", str(state)])
    serve = ["serve", "--state", str(state), "--port", "0", "--threads", str(threads)]
    with (
        (work / "serve.log").open("wb") as log,
        subprocess.Popen(_command(serve), stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            line = "" if server.stdout is None else server.stdout.readline()
            if not line.startswith(_LISTENING):
                shown = (work / "serve.log").read_text(errors="replace")[-500:]
                raise TransportError(f"aggregator did not start: {shown}")
            token = (state / "operator.token").read_text().strip()
            yield line.removeprefix(_LISTENING).strip(), token, server.pid
        finally:
            server.terminate()


def _command(arguments: Sequence[str]) -> list[str]:
    return [str(Path(sys.executable).with_name("aggregator")), *arguments]


def _run(arguments: Sequence[str]) -> None:
    subprocess.run(_command(arguments), check=True, stdout=subprocess.DEVNULL)


def _worker_of(main: int) -> int:
    """Return the process that handles requests: the only child of the main one."""
    (worker,) = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return int(worker)


def _forget_peak(process: int) -> None:
    """Count the peak from now on: a start needs more than the service does."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def _resident_bytes(process: int, field: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise TransportError(f"process {process} has ended")


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
