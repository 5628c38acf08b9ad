"""A federation that has ended, opened again to be looked at: aggregator and one bank's pages."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fraudfed.lab.local_federation.consortium import LISTENING
from fraudfed.lab.local_federation.processes import ProgramGroup

#: What ``bank-node pages`` prints when it is ready; its URL follows.
PAGES_LISTENING = "bank pages listening on "
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Kept:
    """Where to look.

    Attributes
    ----------
    aggregator_url, bank_url : str
        Of the pages.
    aggregator_token, bank_token : Path
        Files with what signs in at each.
    bank : str
    """

    aggregator_url: str
    aggregator_token: Path
    bank: str
    bank_url: str
    bank_token: Path


@contextmanager
def kept_open(work: Path, *, bank: str) -> Iterator[Kept]:
    """Serve the state directories that a federation has left, until the block ends.

    Parameters
    ----------
    work : Path
        As given to ``open_federation``.
    bank : str
        Whose pages are served.

    The aggregator gets the port that it had: its banks go on calling it there.

    Raises
    ------
    FraudFedError
        The error of a program that does not start, with its exit code's class.
    """
    aggregator, state = work / "aggregator", work / "banks" / bank
    called = tomllib.loads((state / "bank.toml").read_text())["aggregator"]
    port = urlsplit(called).port or 0
    with ProgramGroup(logs=work / "logs") as group:
        served = group.start(
            "aggregator-kept",
            ["aggregator", "serve", "--state", str(aggregator), "--port", str(port)],
        )
        url = group.wait_for_line(served, LISTENING, seconds=_START_SECONDS)
        pages = group.start(
            f"{bank}-pages", ["bank-node", "pages", "--state", str(state), "--port", "0"]
        )
        bank_url = group.wait_for_line(pages, PAGES_LISTENING, seconds=_START_SECONDS)
        yield Kept(
            aggregator_url=f"{url}/pages/",
            aggregator_token=aggregator / "operator.token",
            bank=bank,
            bank_url=bank_url,
            bank_token=state / "serving" / "pages.token",
        )
