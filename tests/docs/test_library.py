"""``docs/library.md`` works as it stands, and ``fraudfed`` exports exactly what it uses."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fraudfed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text()
CODE = "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S))
#: What ``import fraudfed`` must not load: it is slow, or a secret part.
HEAVY = ("numpy", "pandas", "xgboost", "pydantic", "gmpy2", "cryptography", "fraudfed.")


def imported_from_fraudfed(code: str) -> set[str]:
    """Return the names that some code imports from ``fraudfed`` itself."""
    return {
        alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module == "fraudfed" and not node.level
        for alias in node.names
    }


def test_the_page_runs_as_one_script(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text(CODE)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "model.json").is_file()


def test_the_public_names_are_those_that_the_page_uses() -> None:
    assert set(fraudfed.__all__) == imported_from_fraudfed(CODE) | {"__version__"}


def test_every_public_name_is_there_and_is_listed() -> None:
    for name in fraudfed.__all__:
        assert getattr(fraudfed, name) is not None
    assert set(fraudfed.__all__) <= set(dir(fraudfed))
    with pytest.raises(AttributeError, match="no attribute 'Treasure'"):
        fraudfed.__getattr__("Treasure")


def test_type_checkers_are_told_the_same_names() -> None:
    stub = ast.parse((ROOT / "fraudfed" / "__init__.pyi").read_text())
    told = {
        alias.name: f"{node.module}.{alias.name}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(told) == set(fraudfed.__all__) - {"__version__"}
    (listed,) = (node for node in stub.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(listed.value) == fraudfed.__all__
    for name, place in told.items():
        module, _, attribute = place.rpartition(".")
        assert getattr(sys.modules[module], attribute) is getattr(fraudfed, name)


def test_importing_fraudfed_is_light() -> None:
    code = "import sys, fraudfed; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in loaded if name.startswith(HEAVY)] == []


@pytest.mark.parametrize("package", ["fraudfed", "bank_node", "aggregator", "data_gen"])
def test_our_own_programs_name_the_module_that_they_import_from(package: str) -> None:
    # Through the lazy names the aggregator could reach a private key, and the import linter would
    # see nothing of it.
    for path in sorted((ROOT / package).rglob("*.py")):
        named = imported_from_fraudfed(path.read_text())
        modules = {p.stem for p in (ROOT / "fraudfed").iterdir()}
        assert named - modules <= {"__version__"}, path
