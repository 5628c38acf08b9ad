"""What runs on the workers of a cluster, asked before a bank joins a run.

A worker of another release could compute another model; one of another Python or NumPy cannot read
what is sent to it. Both are found here, and not in the middle of a run in which others wait.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fraudfed import __version__
from fraudfed.dask_engine.addresses import is_safe
from fraudfed.errors import ClusterError, ConfigurationError
from fraudfed.machine.hardening import keep_memory_private
from fraudfed.machine.native import load_native

if TYPE_CHECKING:
    from distributed import Client

_KERNELS = "fraudfed.boosting.engine._engine"
#: Of all names, so many are told.
_NAMED = 3


@dataclass(frozen=True)
class WorkerFacts:
    """What a process computes with.

    Attributes
    ----------
    fraudfed : str
        Release.
    python : str
        ``3.11``.
    numpy : str
    without_kernels : str
        Why there are no compiled kernels; empty if there are.
    """

    fraudfed: str
    python: str
    numpy: str
    without_kernels: str


def worker_facts() -> WorkerFacts:
    """Return what this process computes with; runs on a worker, and keeps its memory private."""
    import numpy as np

    keep_memory_private()
    return WorkerFacts(
        fraudfed=__version__,
        python=".".join(platform.python_version_tuple()[:2]),
        numpy=np.__version__,
        without_kernels=load_native(_KERNELS).reason,
    )


def check_workers(client: "Client", *, insecure: bool) -> int:
    """Check every worker that is there, and return their number.

    Raises
    ------
    ClusterError
        If one has another fraudfed, Python or NumPy, none, or no compiled kernels.
    ConfigurationError
        If rows would travel to one in the clear.
    """
    addresses = list(client.scheduler_info(n_workers=-1)["workers"])
    unsafe = [address for address in addresses if not is_safe(address)]
    if unsafe and not insecure:
        raise ConfigurationError(
            f"worker {_some(unsafe)}: customers' rows would travel to it in the clear; start "
            "workers with TLS, or say --dask-insecure"
        )
    _check_versions(client.get_versions(check=False))
    own = worker_facts()
    found: Mapping[str, Any] = client.run(worker_facts, on_error="return")
    for address, facts in found.items():
        fault = fault_of(facts, own)
        if fault is not None:
            raise ClusterError(
                f"worker {address} {fault}; start every worker from the installation that this "
                "program runs from"
            )
    return len(found)


def _check_versions(found: Mapping[str, Any]) -> None:
    """Compare Python and NumPy: what has to fit before a function can be sent at all."""
    own = _versions(found["client"])
    for address, facts in found["workers"].items():
        if _versions(facts) != own:
            raise ClusterError(
                f"worker {address} has {_text(_versions(facts))}, this program {_text(own)}; start "
                "every worker from the installation that this program runs from"
            )


def _versions(facts: Mapping[str, Any]) -> tuple[str, str]:
    python = str(facts["host"]["python"])
    return ".".join(python.split(".")[:2]), str(facts["packages"].get("numpy"))


def _text(versions: tuple[str, str]) -> str:
    return f"Python {versions[0]} and NumPy {versions[1]}"


def fault_of(facts: object, own: WorkerFacts) -> str | None:
    """Return what is wrong with a worker, None if it computes as this process does.

    Parameters
    ----------
    facts : WorkerFacts or Exception
        What it answered, or what happened instead.
    own : WorkerFacts
    """
    if isinstance(facts, ModuleNotFoundError):
        return f"has no {facts.name}"
    if not isinstance(facts, WorkerFacts):
        return f"does not answer ({type(facts).__name__})"
    if facts.fraudfed != own.fraudfed:
        return f"has fraudfed {facts.fraudfed}, this program {own.fraudfed}"
    if facts.without_kernels and not own.without_kernels:
        return f"has no compiled kernels ({facts.without_kernels})"
    if facts != own:
        return f"is {facts}, this program {own}"
    return None


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
