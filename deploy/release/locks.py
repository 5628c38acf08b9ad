"""What a lock file of this project says: packages, hashes, and which package asked for which."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
#: The Pythons of the classifiers, on the system that the programs are for.
_PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Package:
    """One entry of a lock file.

    ``asked_by`` are the names of the packages that need it; ``None`` among them is this project.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    asked_by: frozenset[str | None]

    @property
    def purl(self) -> str:
        """The package's URL; a name has one canonical spelling there."""
        return f"pkg:pypi/{self.name}@{self.version}"


def packages(role: str) -> list[Package]:
    """Return what one role installs on Linux, on any Python that the project supports.

    Raises
    ------
    ValueError
        If an entry has no exact version or no hash: it would install what nobody has seen.
    """
    found = []
    text = (REQUIREMENTS / f"{role}.txt").read_text()
    for entry in re.findall(r"^[A-Za-z0-9].*\n(?:[ \t]+.*\n?)*", text, re.MULTILINE):
        head, _, comment = entry.partition("# via")
        line, *hashes = re.split(r"\s+--hash=sha256:", head.replace("\\\n", " ").strip())
        requirement = Requirement(line)
        exact = re.fullmatch(r"==([^*,]+)", str(requirement.specifier))
        if exact is None or not hashes:
            raise ValueError(
                f"{role}.txt: {line!r} has no exact version or no hash: run 'make lock'"
            )
        if not _installs(requirement):
            continue
        asked = (word.strip("# ") for word in comment.splitlines())
        found.append(
            Package(
                name=canonicalize_name(requirement.name),
                version=exact[1],
                marker=str(requirement.marker or ""),
                hashes=tuple(hashes),
                asked_by=frozenset(_asker(word) for word in asked if word and word[:3] != "-c "),
            )
        )
    return found


def _asker(word: str) -> str | None:
    return None if word.startswith("fraudfed (") else canonicalize_name(word)


def _installs(requirement: Requirement) -> bool:
    linux = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    cpython = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return requirement.marker is None or any(
        requirement.marker.evaluate(
            {**linux, **cpython, "python_version": python, "python_full_version": f"{python}.0"}
        )
        for python in _PYTHONS
    )
