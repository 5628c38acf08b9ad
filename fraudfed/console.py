"""What the commands of all four programs do alike: answers, failures, exit codes, consoles.

A command returns its answer, a value with a pydantic schema. ``answers`` shows it to people, or
prints it as one JSON document with ``--json``. A failure is one line on stderr, or with ``--json``
an ``ErrorDocument`` on stdout. So stdout holds exactly one JSON document, whichever way the command
ends; logs and progress go to stderr.
"""

import functools
import importlib
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter

from fraudfed.errors import FraudFedError
from fraudfed.foreign_text import visible, visible_json
from fraudfed.machine.importing import without_collections

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: A pydantic model or a dataclass; or a function that returns it, where it is slow to import.
Shape = type[T] | Callable[[], type[T]]

#: 128 + SIGINT and 128 + SIGTERM, what a shell expects.
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
_EXIT_DEFECT = 1
#: The same as ConfigurationError's.
_EXIT_USAGE = 2

#: Ends of a command that are no FraudFedError: kind -> exit code, what to do.
OTHER_ENDS: Mapping[str, tuple[int, str]] = {
    "defect": (_EXIT_DEFECT, "Report the defect, with the line of the message."),
    "usage": (_EXIT_USAGE, "Correct the command line; --help after the command shows its options."),
    "interrupted": (EXIT_INTERRUPTED, "Start the same command again."),
    "terminated": (EXIT_TERMINATED, "Start the same command again."),
}

#: Columns of a table that goes to a pipe or file: wide enough for every column in full.
_PIPE_COLUMNS = 150

logger = logging.getLogger(__name__)


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people: the only way of a program's text to its terminal, beside tables.

    Each argument is one line, whatever it holds of others' text (``foreign_text``).
    """
    for line in lines:
        click.echo(visible(line), err=err)


def say_json(document: str) -> None:
    """Print a JSON document; what is unprintable in its texts as its escape."""
    click.echo(visible_json(document))


class Answer(BaseModel):
    """Base of what commands print with ``--json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(Answer):
    """Why a command failed.

    Attributes
    ----------
    kind : str
        ``slug`` of the class of ``fraudfed.errors``, or a key of ``OTHER_ENDS``.
    message : str
        The line that people see.
    what_to_do : str
    """

    kind: str
    message: str
    what_to_do: str


class ErrorDocument(Answer):
    """What a command that failed prints with ``--json``.

    Attributes
    ----------
    error : Failure
    result : object
        The answer of a command that did its work and found something wrong; else left out.
    """

    error: Failure
    result: JsonValue = None


def answers(
    shape: Shape[T],
    show: Callable[[T], object],
    *,
    fails: Callable[[T], FraudFedError | None] = lambda _: None,
) -> Callable[[F], F]:
    """Give a command ``--json``, and print what it returns.

    Parameters
    ----------
    shape : Shape
        What the command returns.
    show : callable
        Prints the answer for people.
    fails : callable
        Returns the error that the command ends with after its answer; None for success.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*args: Any, as_json: bool, **options: Any) -> None:
            answer = function(*args, **options)
            failure = fails(answer)
            if not as_json:
                show(answer)
                if failure is not None:
                    raise failure
            elif failure is None:
                print_json(shape, answer)
            else:
                end_with(failure, shape, answer)

        return json_option(shape)(command)  # type: ignore[return-value]

    return decorate


def json_option(shape: Shape[Any]) -> Callable[[F], F]:
    """Give a command the flag ``as_json``; for commands that print their answer themselves."""

    def decorate(function: F) -> F:
        function.answer = shape  # type: ignore[attr-defined]
        return click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print one JSON document on stdout, also when the command fails.",
        )(function)

    return decorate


def print_json(shape: Shape[T], answer: T) -> None:
    """Print an answer as one JSON document."""
    say_json(TypeAdapter(_resolved(shape)).dump_json(answer, indent=2).decode())


def answer_of(command: click.Command) -> Any:
    """Return the shape of a command's answer, None if it has no ``--json``."""
    shape = getattr(command.callback, "answer", None)
    return None if shape is None else _resolved(shape)


def _resolved(shape: Shape[T]) -> type[T]:
    return shape if isinstance(shape, type) else shape()


class CommandsOnDemand(MutableMapping[str, click.Command]):
    """The commands of a program, each imported when it is first asked for.

    A program's commands need different packages, which take seconds to import: one that is started
    imports its own. ``--help`` asks for all of them.

    Parameters
    ----------
    places : mapping of str to str
        Name of a command -> where it is, ``package.module:attribute``.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._found: dict[str, str | click.Command] = dict(places)

    def __getitem__(self, name: str) -> click.Command:
        place = self._found[name]
        if not isinstance(place, str):
            return place
        module, _, attribute = place.partition(":")
        with without_collections():
            command: click.Command = getattr(importlib.import_module(module), attribute)
        self._found[name] = command
        return command

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def commands_of(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Return every command of a program by its whole name, those of its groups among them."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{prefix}{name} ")
        else:
            found[f"{prefix}{name}"] = command
    return dict(sorted(found.items()))


def schemas_of(group: click.Group) -> dict[str, Any]:
    """Return the JSON Schemas of a program's answers by command, and of ``error``."""
    shapes = {name: answer_of(command) for name, command in commands_of(group).items()}
    return {
        "error": ErrorDocument.model_json_schema(mode="serialization"),
        "commands": {
            name: TypeAdapter(shape).json_schema(mode="serialization")
            for name, shape in shapes.items()
        },
    }


def _print_schemas(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and isinstance(context.command, click.Group):
        say_json(json.dumps(schemas_of(context.command), indent=1))
        context.exit()


#: ``--json-schemas`` of a program.
schemas_option = click.option(
    "--json-schemas",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schemas,
    help="Print the JSON Schemas of what --json prints, and exit.",
)


def examples(*lines: str) -> str:
    """Return the ``epilog`` of a command: example calls, one a line as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def run_command(command: click.Command, *, prog_name: str) -> NoReturn:
    """Run a click command and exit with its documented code (docs/cli.md).

    A ``FraudFedError`` is one line on stderr. Anything unexpected is one line too: the class and
    the place, not the message, which might hold a value of a row. The log at level debug has all.
    """
    as_json = "--json" in sys.argv[1:]
    try:
        # Outside standalone mode click hands back the code of ``--help`` and ``ctx.exit``.
        code = command.main(prog_name=prog_name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(_EXIT_USAGE)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = prog_name if context is None else context.command_path
        _end("usage", f"{error.format_message().rstrip('.')}; see {path} --help", as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        _end("interrupted", "interrupted", as_json=as_json)
    except SystemExit as stop:
        if stop.code != EXIT_TERMINATED:
            raise
        _end("terminated", "terminated", as_json=as_json)
    except FraudFedError as error:
        if as_json:
            _print_failure(error.slug, str(error), error.what_to_do)
        else:
            say(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        logger.debug("unexpected error", exc_info=True)
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = (
            f"unexpected {type(error).__name__} in {Path(place.filename).name}, line "
            f"{place.lineno} ({place.name}); this is a defect of {prog_name}, please report it"
        )
        _end("defect", message, as_json=as_json)
    sys.exit(code if isinstance(code, int) else 0)


def _end(kind: str, message: str, *, as_json: bool) -> NoReturn:
    """End with a failure that is no FraudFedError."""
    code, what_to_do = OTHER_ENDS[kind]
    if as_json:
        _print_failure(kind, message, what_to_do)
    else:
        stopped = code in (EXIT_INTERRUPTED, EXIT_TERMINATED)
        say(message if stopped else f"error: {message}", err=True)
    sys.exit(code)


def end_with(error: FraudFedError, shape: Shape[T], result: T) -> NoReturn:
    """End a command that was asked for JSON with an error, and what it has found nevertheless.

    Parameters
    ----------
    error : FraudFedError
    shape : Shape
        Of ``result``.
    result : object
    """
    found = TypeAdapter(_resolved(shape)).dump_python(result, mode="json")
    _print_failure(error.slug, str(error), error.what_to_do, result=found)
    click.get_current_context().exit(error.exit_code)


def _print_failure(kind: str, message: str, what_to_do: str, **result: JsonValue) -> None:
    failure = Failure(kind=kind, message=message, what_to_do=what_to_do)
    document = ErrorDocument(error=failure, **result)
    say_json(document.model_dump_json(indent=2, exclude_unset=True))


def stdout_console(*, own_text: bool = False) -> "Console":
    """Return a console for tables: as wide as the terminal, or wide enough for all in a pipe.

    Like ``stderr_console``, it uses no colour where ``NO_COLOR`` is set, and shows every text in it
    as ``say`` does; a text is no markup, unless all of it is ours (``own_text``).
    """
    console = _console_class(own_text)()
    return console if console.is_terminal else _console_class(own_text)(width=_PIPE_COLUMNS)


def stderr_console(*, quiet: bool = False, own_text: bool = False) -> "Console":
    """Return a console for progress and logs."""
    return _console_class(own_text)(stderr=True, highlight=False, quiet=quiet)


@functools.cache
def _console_class(own_text: bool) -> "type[Console]":
    # Most commands print no table.
    from rich.console import Console
    from rich.text import Text

    if own_text:
        return Console

    class VisibleConsole(Console):
        """A console that shows texts of others as they are, on one line."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})

    return VisibleConsole
