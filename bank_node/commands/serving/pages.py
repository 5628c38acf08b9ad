"""``bank-node pages``: this bank's pages, on a port of this machine."""

import sys
from pathlib import Path

import click

from bank_node.commands.options import passphrase_option, state_option
from bank_node.commands.output import PagesListening
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, json_option, say


@click.command(
    epilog=examples("bank-node pages --state bank-a                 # then open the URL it prints")
)
@state_option
@passphrase_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8766,
    show_default=True,
    help="Port to listen on, at 127.0.0.1; 0 picks a free one.",
)
@json_option(PagesListening)
def pages(path: Path, passphrase_file: Path | None, port: int, as_json: bool) -> None:
    """Show at a browser what left this bank, its runs, models, alerts, look-ups and monitoring.

    Needs no model and no scoring service. Listens on this machine alone; the token to sign in is
    in a file of the state directory.
    """
    from bank_node.service.pages.server import serve
    from bank_node.service.pages.token import token_file
    from fraudfed.http.pages.site import PAGES
    from fraudfed.http.server.listening import listen, url_of

    state = StateDirectory(path)
    passphrase = read_passphrase(passphrase_file)
    state.unlock(passphrase)
    # Or the first page would say what is wrong.
    state.identity()
    token = token_file(path / "serving")
    listener = listen("127.0.0.1", port)
    url = f"{url_of(listener)}{PAGES}/"

    def announce() -> None:
        if as_json:
            say(PagesListening(url=url, token_file=str(token)).model_dump_json())
        else:
            say(f"bank pages listening on {url}")
            say(f"sign in with the line in {token}")
        sys.stdout.flush()

    serve(state, listener, passphrase=passphrase, on_ready=announce)
