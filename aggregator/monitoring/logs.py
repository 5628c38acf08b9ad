"""Logging of the programs: text for people or one JSON object per line, on stderr.

What is known of the request that a line belongs to stands in every line: ``run_id``,
``round_number``, ``request_id``, ``caller``, and the ``worker`` process. No line holds a token, a
signature or a part of a body.
"""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from fraudfed.foreign_text import visible, visible_lines

#: In the order in which a line of text shows them.
CONTEXT_FIELDS = ("run_id", "round_number", "caller", "request_id", "worker")

_EMPTY: Mapping[str, str | int] = MappingProxyType({})
_CONTEXT: ContextVar[Mapping[str, str | int]] = ContextVar("context", default=_EMPTY)
#: Of the process and not of a request; a dict, so that nothing is assigned to a global name.
_PROCESS: dict[str, str | int] = {}


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


def clear_context() -> None:
    """Forget the last request: threads serve one after another."""
    _CONTEXT.set(_EMPTY)


def add_to_context(**fields: str | int) -> None:
    """Let every further line of this request carry these fields, of ``CONTEXT_FIELDS``."""
    _CONTEXT.set({**_CONTEXT.get(), **fields})


def name_worker(worker: int) -> None:
    """Let every further line of this process carry the process id of a worker."""
    _PROCESS["worker"] = worker


class _ContextFilter(logging.Filter):
    """Adds to a record what is known of its request, unless the record says it itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        for name, value in {**_PROCESS, **_CONTEXT.get()}.items():
            vars(record).setdefault(name, value)
        return True


class _TextFormatter(logging.Formatter):
    """One line of text; what is known of its request stands behind it, if it is not in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return one line: what a caller sent cannot begin a record of its own."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the lines of a traceback, all of them set in."""
        return "    " + visible_lines(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it if there is one."""
        first, *rest = super().format(record).split("\n")
        known = [
            visible(f"{name}={vars(record)[name]}")
            for name in CONTEXT_FIELDS
            if name in vars(record) and f"{name}=" not in first
        ]
        return "\n".join((" ".join((first, *known)), *rest))


def configure_logging(log_format: LogFormat, *, quiet: bool) -> None:
    """Send all logs to stderr; ``quiet`` keeps warnings and errors only."""
    handler = logging.StreamHandler()
    handler.addFilter(_ContextFilter())
    if log_format is LogFormat.JSON:
        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            )
        )
    else:
        handler.setFormatter(_TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, handlers=[handler], force=True
    )
