"""Takes the pages and files beside ``docs/`` into the site, and turns links to them accordingly."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: Pages of the repository's top -> their names in the site; the README is no start page there.
PAGES = {
    "README.md": "overview.md",
    "SECURITY.md": "SECURITY.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages of the top, and the files of ``deploy`` that pages link to."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text()))
    for path in sorted((ROOT / "deploy").rglob("*")):
        if path.is_file() and "secrets" not in path.parts:
            place = str(path.relative_to(ROOT))
            files.append(File.generated(config, place, content=path.read_bytes()))
    for name in ("LICENSE",):
        files.append(File.generated(config, f"{name}.txt", content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Make every link relative to where the page stands in the site."""
    names = {place: name for name, place in PAGES.items()}
    here = page.file.src_uri
    # Where the page stands in the repository.
    origin = names.get(here, f"docs/{here}")

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), match[1]))
        place = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(place, posixpath.dirname(here) or '.')}"

    return _LINK.sub(turned, markdown)
