"""The four programs, run in this process: the same ``main``, without seconds of imports each."""

import contextlib
import io
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import click
from pydantic import TypeAdapter

import aggregator.cli
import bank_node.cli
import data_gen.cli
import fraudfed.cli
from fraudfed.console import OTHER_ENDS, ErrorDocument, answer_of, commands_of
from fraudfed.errors import error_classes

PROGRAMS: dict[str, tuple[click.Group, Callable[[], object]]] = {
    "aggregator": (aggregator.cli.cli, aggregator.cli.main),
    "bank-node": (bank_node.cli.cli, bank_node.cli.main),
    "data-gen": (data_gen.cli.cli, data_gen.cli.main),
    "fraudfed": (fraudfed.cli.cli, fraudfed.cli.main),
}

#: Every command of every program, by the words that are typed.
COMMANDS: dict[str, click.Command] = {
    f"{program} {name}": command
    for program, (group, _) in PROGRAMS.items()
    for name, command in commands_of(group).items()
}


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def answer(self, command: str) -> Any:
        """Return the document of a command that succeeded, held against its schema."""
        assert self.code == 0, self.out + self.err
        document = json.loads(self.out)
        TypeAdapter(answer_of(COMMANDS[command])).validate_json(self.out)
        return document

    def error(self, kind: str) -> ErrorDocument:
        """Return the document of a command that failed, with its kind and exit code."""
        document = ErrorDocument.model_validate_json(self.out)
        assert document.error.kind == kind, self.out
        assert document.error.what_to_do
        known = {slug: cls.exit_code for slug, cls in error_classes().items()}
        known |= {other: code for other, (code, _) in OTHER_ENDS.items()}
        assert self.code == known[kind]
        assert "error:" not in self.err
        return document


def run_program(program: str, *arguments: str | Path) -> Ended:
    """Run a command to its end."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [program, *map(str, arguments)]),
        _restored_process(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            PROGRAMS[program][1]()
            raise AssertionError(f"{program} did not exit")
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _restored_process() -> Iterator[None]:
    """Undo what a ``main`` does to the whole process: log handlers and the handling of SIGTERM."""
    loggers = [logging.getLogger(name) for name in (None, "bank_node", "fraudfed", "aggregator")]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
