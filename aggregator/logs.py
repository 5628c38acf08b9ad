"""Logging of the programs: text for people or one JSON object per line, on stderr."""

import logging
from enum import StrEnum

from pythonjsonlogger.json import JsonFormatter

__all__ = ["LogFormat", "configure_logging"]


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


def configure_logging(log_format: LogFormat, *, quiet: bool) -> None:
    """Send all logs to stderr; ``quiet`` keeps warnings and errors only."""
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            )
        )
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, handlers=[handler], force=True
    )
    # One line per outgoing request of the operator's own commands would only repeat their output.
    logging.getLogger("httpx").setLevel(logging.WARNING)
