"""What a measurement was made on: without it a figure means nothing."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fraudfed.machine.threads import usable_cores


@dataclass(frozen=True)
class Machine:
    """Processor and software.

    Attributes
    ----------
    cpu : str
    cores : int
        Those that this process may use.
    memory_bytes : int
    versions : dict of str to str
    """

    cpu: str
    cores: int
    memory_bytes: int
    versions: dict[str, str]

    @classmethod
    def here(cls, *packages: str) -> "Machine":
        """Describe this machine with the versions of Python, fraudfed and ``packages``."""
        used = {"python": platform.python_version(), "fraudfed": version("fraudfed")}
        for package in packages:
            found = installed_version(package)
            if found is not None:
                used[package] = found
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(_cpu_model(), usable_cores(), memory, used)

    def to_lines(self) -> list[str]:
        """Return two lines for the terminal."""
        used = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return [
            f"machine   {self.cpu}, {self.cores} cores, {self.memory_bytes / 2**30:.0f} GiB",
            f"versions  {used}",
        ]


def installed_version(package: str) -> str | None:
    """Return a package's version, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        # "model name" on x86; ARM kernels name the part by numbers only.
        if name.strip() in ("model name", "CPU part"):
            return " ".join(value.split())
    return platform.machine()
