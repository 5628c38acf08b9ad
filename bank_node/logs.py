"""Logging of the bank node: text or one JSON object per line, on stderr, with run and round.

No record ever holds a token, a key, or a value of a row: errors about rows go to the terminal of
the bank, not to the log.
"""

import logging
import sys
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.logging import RichHandler

from fraudfed.foreign_text import visible, visible_lines

LOG_LEVELS = ("debug", "info", "warning", "error")

#: Run and round that the program works on; every record carries them.
RUN: ContextVar[str | None] = ContextVar("run", default=None)
ROUND: ContextVar[int | None] = ContextVar("round", default=None)

#: Fields of the records "tree finished", "days finished" and "model judged".
_STEP_FACTS = ("tree", "leaves", "metrics", "days", "of", "judged")

_PROGRAM_LOGGERS = ("bank_node", "fraudfed")


class _ContextFilter(logging.Filter):
    """Adds run and round to a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        record.run = RUN.get()
        record.round = ROUND.get()
        return True


class _VisibleFormatter(logging.Formatter):
    """Texts of others cannot begin a record of their own, nor paint the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return one line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the lines of a traceback, all of them set in."""
        return "    " + visible_lines(super().formatException(ei))


class _TextFormatter(_VisibleFormatter):
    """One line of text; the facts of a step, which JSON has as fields, stand behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        first, *rest = super().format(record).split("\n")
        facts = [f"{key}={vars(record)[key]}" for key in _STEP_FACTS if key in vars(record)]
        return "\n".join((" ".join((first, *map(visible, facts))), *rest))


def _is_not_of_a_step(record: logging.LogRecord) -> bool:
    """Tell whether a record says something that the progress bar does not show."""
    return vars(record).keys().isdisjoint(_STEP_FACTS)


def configure_logging(*, log_format: str, level: str, console: Console) -> None:
    """Send the program's records to stderr.

    Parameters
    ----------
    log_format : {"text", "json"}
    level : one of ``LOG_LEVELS``
    console : Console
        Used for text when stderr is a terminal.
    """
    handler: logging.Handler
    if log_format == "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s %(run)s %(round)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            )
        )
    elif console.is_terminal:
        handler = RichHandler(console=console, show_path=False, log_time_format="%H:%M:%S")
        handler.setFormatter(_VisibleFormatter("%(message)s"))
        handler.addFilter(_is_not_of_a_step)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_TextFormatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_ContextFilter())
    for name in _PROGRAM_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
