"""``fraudfed screenshots``: a finished demo in, pictures out."""

from pathlib import Path

import click

from fraudfed.console import Answer, answers, examples, say
from fraudfed.errors import ConfigurationError, StateError

_REPORT = "report.html"


class Screenshots(Answer):
    """``screenshots``: the files that it wrote."""

    files: tuple[str, ...]


def _show(made: Screenshots) -> None:
    for file in made.files:
        say(f"wrote {file}")


@click.command(epilog=examples("fraudfed demo && fraudfed screenshots --out docs/images"))
@click.option(
    "--demo",
    type=click.Path(path_type=Path),
    default=Path("fraudfed-demo"),
    show_default=True,
    help="Directory that `fraudfed demo` has written.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Directory of the pictures."
)
@click.option(
    "--browser",
    type=click.Path(path_type=Path),
    default=Path("/usr/bin/chromium"),
    show_default=True,
    help="Chromium to take them with.",
)
@answers(Screenshots, _show)
def screenshots_command(demo: Path, out: Path, browser: Path) -> Screenshots:
    """Take pictures of a demo's report, and of the pages of its aggregator and of one bank.

    Serves the demo's state directories on loopback, and opens a run that one bank does not join.
    """
    for path in (demo / _REPORT, demo / "work" / "aggregator", demo / "work" / "banks"):
        if not path.exists():
            raise StateError(
                f"--demo {demo}: has no {path.relative_to(demo)}; make one with 'fraudfed demo "
                f"--out {demo}'"
            )
    if not browser.exists():
        raise ConfigurationError(
            f"--browser {browser}: there is no such program; install Chromium, or name another"
        )
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "pictures need Playwright; install fraudfed[screenshots]"
        ) from None
    from fraudfed.lab.screenshots.pictures import take

    out.mkdir(parents=True, exist_ok=True)
    return Screenshots(files=tuple(map(str, take(demo, out, browser=browser))))
