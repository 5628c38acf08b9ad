"""Every link of the pages resolves, and every file and module that they name is there."""

import importlib
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
)
#: Says what was, and names files that are gone.
HISTORY = ROOT / "CHANGELOG.md"
PACKAGES = ("fraudfed", "bank_node", "aggregator", "data_gen")
#: Made at run time, or files of XGBoost.
NOT_OURS = {"aggregator.db", "aggregator.env", "param.h", "split_evaluator.h", "driver.h"}
FOLDERS = (*(f"{name}/" for name in PACKAGES), "tests/", "docs/", "deploy/", ".ci/")
FILE_NAMES = {
    path.name for folder in (*PACKAGES, "tests", "deploy") for path in (ROOT / folder).rglob("*.*")
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.M | re.S)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return a page's anchors: those of headings as GitHub and the site make them, and others."""
    found: list[str] = re.findall(r'<a id="([^"]+)"></a>', prose(page))
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        number = found.count(slug)
        found += [slug] if not number else [slug, f"{slug}-{number}"]
    return frozenset(found)


def is_there(named: str) -> bool:
    """Tell whether a module or something in it can be imported."""
    module, _, inner = named.partition(".")
    found: object = importlib.import_module(module)
    parts = inner.split(".")
    while parts:
        module = f"{module}.{parts[0]}"
        if not hasattr(found, "__path__") or importlib.util.find_spec(module) is None:
            break
        found = importlib.import_module(module)
        parts.pop(0)
    for part in parts:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_resolves(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_page = target.exists() and ROOT in target.parents
        if not is_page or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != HISTORY], ids=name_of)
def test_every_file_and_module_that_is_named_is_there(page: Path) -> None:
    gone = []
    for named in set(re.findall(r"`([^`\s]+)`", prose(page))) - NOT_OURS:
        if named.startswith(FOLDERS):
            found = any(ROOT.glob(named.rstrip("/")))
        elif re.fullmatch(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+", named):
            found = is_there(named)
        elif re.fullmatch(r"[\w*]+\.(?:py|c|h)", named):
            found = any(Path(name).match(named) for name in FILE_NAMES)
        else:
            found = True
        if not found:
            gone.append(named)
    assert gone == []
