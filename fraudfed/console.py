"""What every command of the project does alike: one line for an error, and its exit code."""

import logging
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import click

from fraudfed.errors import FraudFedError

#: 128 + SIGINT, what a shell expects of an interrupted command.
EXIT_INTERRUPTED = 130
_EXIT_UNEXPECTED = 1

logger = logging.getLogger(__name__)


def run_command(command: click.Command, *, prog_name: str) -> NoReturn:
    """Run a click command and exit with its documented code (``fraudfed.errors``).

    A ``FraudFedError`` is one line on stderr. Anything unexpected is one line too: the class and
    the place, not the message, which might hold a value of a row. The log at level debug has all.
    """
    try:
        # Outside standalone mode click hands back the code of ``--help`` and ``ctx.exit``.
        code = command.main(prog_name=prog_name, standalone_mode=False)
    except click.ClickException as error:
        # Two, the same as ConfigurationError's.
        click.echo(f"error: {error.format_message()}; see {prog_name} --help", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except FraudFedError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        logger.debug("unexpected error", exc_info=True)
        place = traceback.extract_tb(error.__traceback__)[-1]
        click.echo(
            f"error: unexpected {type(error).__name__} in {Path(place.filename).name}, line "
            f"{place.lineno} ({place.name}); this is a defect of {prog_name}, please report it",
            err=True,
        )
        sys.exit(_EXIT_UNEXPECTED)
    sys.exit(code if isinstance(code, int) else 0)
