"""Wheels hold what runs, source archives what it is built from."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from declared_requirements import PACKAGES, ROLES, ROOT

#: What compiled parts are made of: no part of a wheel.
SOURCES = {".c", ".h"}
#: What is built or written while the packages are used.
MADE = {".so", ".pyc"}


def build(kind: str, source: Path, out: Path) -> Path:
    """Build an archive as pip does, with the setuptools that is installed."""
    program = f"from setuptools import build_meta as b; b.build_{kind}({str(out)!r})"
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=source,
        env={key: value for key, value in os.environ.items() if not key.startswith("FRAUDFED_")},
        check=True,
        capture_output=True,
        timeout=300,
    )
    (found,) = out.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return found


def in_the_tree() -> set[Path]:
    """Return the files of the packages."""
    return {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in MADE
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a source archive, in a copy: building leaves files behind."""
    copy = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / package, copy / package, ignore=ignored)
    shutil.copytree(ROOT / "requirements", copy / "requirements")
    for pattern in ("setup.*", "pyproject.toml", "MANIFEST.in", "LICENSE", "*.md"):
        for path in ROOT.glob(pattern):
            shutil.copy(path, copy)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from the source archive."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def test_the_source_archive_has_all_sources(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = in_the_tree()
    assert {path.suffix for path in wanted} > SOURCES
    assert set(map(str, wanted)) <= held
    assert {"LICENSE", "README.md", "setup.py", "setup.cfg", "pyproject.toml"} <= held
    assert {f"requirements/{role}.txt" for role in ROLES} <= held


def test_the_wheel_has_what_runs_and_no_source_of_compiled_parts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    built = {name for name in held if name.endswith(".so")}
    assert held - built == {str(path) for path in in_the_tree() if path.suffix not in SOURCES}


@pytest.mark.skipif(
    shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler, nothing is compiled"
)
def test_the_source_archive_builds_the_compiled_parts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        built = {name.partition(".")[0] for name in archive.namelist() if name.endswith(".so")}
    sources = {str(path.with_suffix("")) for path in in_the_tree() if path.suffix == ".c"}
    assert built == sources
    assert built
