"""What setup.cfg, pyproject.toml and the lock files say, as requirements."""

import configparser
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("fraudfed", "bank_node", "aggregator", "data_gen")
#: The extras that have a lock file.
ROLES = ("bank", "bank-full", "aggregator", "lab", "dev")


def _config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def _requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.splitlines() if line.strip()]


def extra(name: str) -> list[Requirement]:
    """Return what an extra lists, other extras of the project resolved, without the base."""
    found = []
    for requirement in _requirements(_config()["options.extras_require"][name]):
        if requirement.name == "fraudfed":
            for inner in sorted(requirement.extras):
                found += extra(inner)
        else:
            found.append(requirement)
    return found


def base() -> list[Requirement]:
    """Return what is installed with every role."""
    return _requirements(_config()["options"]["install_requires"])


def needed_by(role: str) -> list[Requirement]:
    return base() + extra(role)


def build_requirements() -> list[Requirement]:
    parsed = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [Requirement(text) for text in parsed["build-system"]["requires"]]


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def pythons() -> list[str]:
    """Return the Python versions of the classifiers, as "3.11"."""
    text = _config()["metadata"]["classifiers"]
    return re.findall(r"Programming Language :: Python :: (3\.\d+)$", text, re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """One entry of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert only.operator == "=="
        return only.version

    def holds_on(self, python: str) -> bool:
        """Whether the entry is installed by CPython of this version on Linux."""
        marker = self.requirement.marker
        environment = {
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": "linux",
            "platform_system": "Linux",
        }
        return marker is None or marker.evaluate(environment)


def lock_file(role: str) -> Path:
    return ROOT / "requirements" / f"{role}.txt"


def pins(role: str) -> list[Pin]:
    return list(_parsed(lock_file(role).read_text()))


def _parsed(text: str) -> Iterator[Pin]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for entry in filter(None, "\n".join(lines).replace("\\\n", " ").splitlines()):
        requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
        yield Pin(Requirement(requirement), tuple(hashes))
