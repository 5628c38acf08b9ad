"""Run a command to its end in this process: without a second of imports each time."""

import contextlib
import io
import logging
import subprocess
import sys
from collections.abc import Callable
from unittest import mock


def run_in_process(
    main: Callable[[], None], program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Return what it prints and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    loggers = [(one, list(one.handlers), one.level, one.propagate) for one in _loggers()]
    command = [program, *arguments]
    code: object = 0
    with (
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            for logger, handlers, level, propagates in loggers:
                logger.handlers[:] = handlers
                logger.setLevel(level)
                logger.propagate = propagates
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def _loggers() -> list[logging.Logger]:
    """Return the loggers that a program sets up, so that later tests find them as they were."""
    return [logging.getLogger(name) for name in (None, "fraudfed", "bank_node", "aggregator")]
