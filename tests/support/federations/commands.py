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
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
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
            root.handlers[:] = handlers
            root.setLevel(level)
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())
