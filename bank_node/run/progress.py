"""What a person sees while a bank takes part in a run: which banks are in, and how far it is."""

from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fraudfed.foreign_text import visible


class RunProgress:
    """A progress bar on stderr; silent when ``enabled`` is False.

    Parameters
    ----------
    console : Console
    enabled : bool
        False without a terminal, with ``--quiet`` and with JSON logs.
    """

    def __init__(self, console: Console, *, enabled: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not enabled,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def banks(self, members: tuple[str, ...], total: int) -> None:
        """Show which banks have joined."""
        self._show("banks", len(members), total, ", ".join(members))

    def steps(self, what: str, done: int, total: int, note: str) -> None:
        """Show how many trees or days are done."""
        self._show(what, done, total, note)

    def _show(self, what: str, done: int, total: int, note: str) -> None:
        what, note = visible(what, 60), visible(note, 300)
        if self._task is not None and self._progress.tasks[0].description != what:
            self._progress.remove_task(self._task)
            self._task = None
        if self._task is None:
            self._task = self._progress.add_task(what, total=total, note=note)
        self._progress.update(self._task, completed=done, note=note)
