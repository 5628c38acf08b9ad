"""A progress bar per phase of writing, with rate and time left, on terminals only."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from data_gen.writing.output import OnProgress
from data_gen.writing.output import Progress as Reached

_UNITS = {"making": "parts", "writing": "rows"}


class _Rate(ProgressColumn):
    """The work done per second."""

    def render(self, task: Task) -> Text:
        if task.speed is None:
            return Text("")
        # Parts are few: their rate needs a digit more.
        return Text(f"{task.speed:,.0f}/s" if task.speed >= 10 else f"{task.speed:.1f}/s")


@contextlib.contextmanager
def progress_bar(console: Console) -> Iterator[OnProgress]:
    """Yield a callback for ``write`` that draws bars on a terminal, and nothing in a log or pipe.

    Parameters
    ----------
    console : Console
        On stderr.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:

        def show(reached: Reached) -> None:
            if reached.phase not in tasks:
                name = f"{reached.phase} {_UNITS[reached.phase]}"
                tasks[reached.phase] = bars.add_task(name, total=reached.total)
            bars.update(tasks[reached.phase], completed=reached.done)

        yield show
