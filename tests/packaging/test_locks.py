"""The lock files install what setup.cfg asks for, and nothing that was not seen before."""

import re

import pytest
from declared_requirements import (
    ROLES,
    ROOT,
    Pin,
    build_requirements,
    lock_file,
    names,
    needed_by,
    pins,
    pythons,
)
from packaging.utils import canonicalize_name

roles = pytest.mark.parametrize("role", ROLES)
every_python = pytest.mark.parametrize("python", pythons())


def installed(role: str, python: str) -> dict[str, Pin]:
    """Return the entries that one Python installs, by name."""
    found: dict[str, Pin] = {}
    for pin in pins(role):
        if pin.holds_on(python):
            name = canonicalize_name(pin.requirement.name)
            assert name not in found, f"{lock_file(role).name} has {name} twice on {python}"
            found[name] = pin
    return found


def test_there_is_one_lock_file_for_each_role() -> None:
    assert {path.stem for path in (ROOT / "requirements").iterdir()} == set(ROLES)
    assert pythons() == ["3.11", "3.12", "3.13"]


@roles
def test_every_entry_has_a_version_and_hashes(role: str) -> None:
    assert pins(role)
    for pin in pins(role):
        assert pin.version
        assert pin.hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", found) for found in pin.hashes)


@roles
def test_no_file_names_a_registry_or_a_path(role: str) -> None:
    for line in lock_file(role).read_text().splitlines():
        assert not re.search(r"://|--(extra-)?index|--find-links|--trusted|^ *(-e|/)| @ ", line)


@roles
@every_python
def test_what_setup_cfg_asks_for_is_locked(role: str, python: str) -> None:
    found = installed(role, python)
    # The project is built by what is installed: see the Makefile.
    for wanted in [*needed_by(role), *build_requirements()]:
        pin = found[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(pin.version), f"{wanted}: {pin.version} is locked"


@pytest.mark.parametrize("role", [role for role in ROLES if role != "dev"])
@every_python
def test_what_is_tested_is_what_each_role_installs(role: str, python: str) -> None:
    tested = installed("dev", python)
    for name, pin in installed(role, python).items():
        assert pin.version == tested[name].version
        assert set(pin.hashes) == set(tested[name].hashes)


@every_python
def test_an_aggregator_has_no_package_for_data_or_models(python: str) -> None:
    packages = {"numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "xgboost", "matplotlib"}
    assert not packages & set(installed("aggregator", python))
    assert packages <= set(installed("dev", python))


def test_roles_need_no_tool_of_the_developers() -> None:
    tools = {"pytest", "mypy", "ruff", "import-linter", "hypothesis", "scikit-learn"}
    assert tools <= names(needed_by("dev"))
    assert not tools & names(needed_by("lab"))
