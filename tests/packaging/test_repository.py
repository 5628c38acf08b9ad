"""The repository holds what people wrote: nothing that a program left in the working directory."""

import subprocess

import pytest
from declared_requirements import PACKAGES, ROOT

TOP_LEVEL = {
    *PACKAGES,
    *(".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile"),
    *("README.md", "SECURITY.md", "deploy", "docs", "mkdocs.yml", "pyproject.toml"),
    *("requirements", "setup.cfg", "setup.py", "tests"),
}


def test_nothing_else_lies_at_the_top() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no repository of git here")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True)
    found = {line.partition("/")[0] for line in listed.stdout.decode().splitlines()}
    assert found == TOP_LEVEL
