"""Where to look after a demo: at its report, and at the pages of its aggregator and one bank."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from fraudfed.console import say
from fraudfed.lab.local_federation.kept import kept_open


def how_to_look(work: Path, *, bank: str, report: Path) -> Iterator[str]:
    """Yield lines that say where the report is, and how pages are opened."""
    yield f"report: {report}"
    yield (
        "pages: run the demo with --keep, or start 'aggregator serve --state "
        f"{work / 'aggregator'}' and 'bank-node pages --state {work / 'banks' / bank}'"
    )


def keep_until_stopped(work: Path, *, bank: str) -> None:
    """Serve the pages until Ctrl-C or SIGTERM, and say where they are and what signs in.

    Raises
    ------
    FraudFedError
        The error of a program that does not start.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with kept_open(work, bank=bank) as kept:
        # On stderr: what a program reads from stdout is complete.
        for line in (
            f"operator pages: {kept.aggregator_url}",
            f"  sign in with: {kept.aggregator_token.read_text().strip()}",
            f"pages of {kept.bank}: {kept.bank_url}",
            f"  sign in with: {kept.bank_token.read_text().strip()}",
            "Press Ctrl-C to stop them.",
        ):
            say(line, err=True)
        stopped.wait()
