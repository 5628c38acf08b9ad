"""Each program imports only what its role installs, and each role installs only what is imported.

Read from the source, imports inside functions among them: no program has to be run for it.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from declared_requirements import PACKAGES, ROOT, base, extra, names, needed_by
from packaging.utils import canonicalize_name

#: Extras that a program asks for by name where it can use them; it works without them.
OPTIONAL = {
    "fraudfed": ["bench", "dask", "kfp", "object-store", "postgresql", "screenshots"],
    "bank_node": ["dask", "keyring", "mlflow", "object-store", "pkcs11", "postgresql", "redis"],
    "data_gen": ["dask"],
}
#: The extra that each program needs.
ROLE_OF = {
    "bank_node": "bank",
    "aggregator": "aggregator",
    "data_gen": "lab",
    "fraudfed": "lab",
}
#: Chosen by a URL at run time, and the driver's own choice; and where zoneinfo finds time zones on
#: a system that has none of its own.
NOT_IMPORTED = {"psycopg", "tzdata"}


def modules(package: str) -> dict[str, Path]:
    """Return all modules of a package by name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


OURS = {name: path for package in PACKAGES for name, path in modules(package).items()}


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Relative ones would have to be resolved; there are none (see the test).
            assert node.level == 0, ast.unparse(node)
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not only_for_types(node):
            yield from imported_names(node)


@cache
def imports_of(path: Path) -> frozenset[str]:
    return frozenset(imported_names(ast.parse(path.read_text())))


def reached_from(starts: dict[str, Path]) -> dict[str, Path]:
    """Return ``starts`` and all modules of the project that importing them can load."""
    reached: dict[str, Path] = {}
    waiting = dict(starts)
    while waiting:
        name, path = waiting.popitem()
        reached[name] = path
        for found in imports_of(path):
            parts = found.split(".")
            for end in range(1, len(parts) + 1):
                module = ".".join(parts[:end])
                if module in OURS and module not in reached:
                    waiting[module] = OURS[module]
    return reached


def distributions(paths: dict[str, Path]) -> dict[str, str]:
    """Return the distributions that modules import, each with a module that does."""
    known = packages_distributions()
    local = {path.stem for folder in ("tests", "deploy") for path in (ROOT / folder).rglob("*.py")}
    local |= {path.name for path in (ROOT / "tests" / "support").iterdir() if path.is_dir()}
    found: dict[str, str] = {}
    for name, path in sorted(paths.items()):
        for imported in imports_of(path):
            top = imported.split(".")[0]
            if top in sys.stdlib_module_names or top in local or top in (*PACKAGES, "tests"):
                continue
            for distribution in known.get(top, [top]):
                found.setdefault(canonicalize_name(distribution), name)
    return found


def missing(paths: dict[str, Path], declared: set[str]) -> dict[str, str]:
    return {name: by for name, by in distributions(paths).items() if name not in declared}


@pytest.mark.parametrize(("package", "role"), ROLE_OF.items())
def test_a_program_imports_what_its_role_installs(package: str, role: str) -> None:
    declared = names(needed_by(role))
    for optional in OPTIONAL.get(package, ()):
        declared |= names(extra(optional))
    # From all modules of the package, also those that only a command or a migration loads.
    assert missing(reached_from(modules(package)), declared) == {}


def test_the_bank_and_the_aggregator_are_in_the_lab() -> None:
    assert names(needed_by("bank")) | names(needed_by("aggregator")) <= names(needed_by("lab"))
    assert names(needed_by("lab")) <= names(needed_by("dev"))


@pytest.mark.parametrize("folder", ["tests", "deploy"])
def test_tests_and_tools_import_what_developers_install(folder: str) -> None:
    paths = {str(path.relative_to(ROOT)): path for path in (ROOT / folder).rglob("*.py")}
    assert paths
    assert missing(paths, names(needed_by("dev"))) == {}


def test_nothing_is_installed_that_nothing_imports() -> None:
    used = set(distributions(OURS))
    assert names(base()) <= used
    for package, role in ROLE_OF.items():
        if role != "lab":
            reached = set(distributions(reached_from(modules(package))))
            assert names(extra(role)) - reached <= NOT_IMPORTED
    assert names(extra("lab")) | names(extra("bench")) <= used | NOT_IMPORTED


def test_the_search_sees_what_hides() -> None:
    source = """
import os.path
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import alpha
def f():
    try:
        import beta.gamma as g
    except ImportError:
        from delta import epsilon
"""
    found = set(imported_names(ast.parse(source)))
    assert found == {
        "os.path",
        "typing",
        "typing.TYPE_CHECKING",
        "beta.gamma",
        "delta",
        "delta.epsilon",
    }
