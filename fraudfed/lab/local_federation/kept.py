"""A federation that has ended, opened again: aggregator, one bank's pages, its scoring service."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from fraudfed.lab.local_federation.consortium import LISTENING
from fraudfed.lab.local_federation.processes import ProgramGroup
from fraudfed.lab.local_federation.served import ServedModel, send, write_files

#: What ``bank-node pages`` prints when it is ready; its URL follows.
PAGES_LISTENING = "bank pages listening on "
#: What ``bank-node serve`` prints then.
_SERVICE_LISTENING = "scoring service listening on "
_START_SECONDS = 60.0
#: The service reads the whole history first.
_WARM_SECONDS = 300.0
#: A machine that shows a demo does other things, too: no payment is to miss its deadline.
_DEADLINE_MS = 5000


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
    service_url : str or None
        Of the bank's scoring service.
    example : Path or None
        A payment to send to it.
    """

    aggregator_url: str
    aggregator_token: Path
    bank: str
    bank_url: str
    bank_token: Path
    service_url: str | None = None
    example: Path | None = None


@contextmanager
def kept_open(work: Path, *, bank: str, served: ServedModel | None = None) -> Iterator[Kept]:
    """Serve the state directories that a federation has left, until the block ends.

    Parameters
    ----------
    work : Path
        As given to ``open_federation``.
    bank : str
        Whose pages are served.
    served : ServedModel or None
        What its scoring service scores with; None starts none.

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
        serving = group.start(
            "aggregator-kept",
            ["aggregator", "serve", "--state", str(aggregator), "--port", str(port)],
        )
        url = group.wait_for_line(serving, LISTENING, seconds=_START_SECONDS)
        pages = group.start(
            f"{bank}-pages", ["bank-node", "pages", "--state", str(state), "--port", "0"]
        )
        bank_url = group.wait_for_line(pages, PAGES_LISTENING, seconds=_START_SECONDS)
        kept = Kept(
            aggregator_url=f"{url}/pages/",
            aggregator_token=aggregator / "operator.token",
            bank=bank,
            bank_url=bank_url,
            bank_token=state / "serving" / "pages.token",
        )
        yield kept if served is None else _serving(kept, served, state, work, group)


def _serving(kept: Kept, served: ServedModel, state: Path, work: Path, group: ProgramGroup) -> Kept:
    """Start the bank's service on its history, let its last payments come in, watch their week."""
    files = write_files(served, work / f"{kept.bank}-serving")
    where = ("--state", str(state), "--run", served.run_id)
    past = ("--store", str(files.store), "--warm", str(files.history))
    options = (*past, "--policy", str(files.policy), "--port", "0")
    service = group.start(
        f"{kept.bank}-service",
        ["bank-node", "serve", *where, *options, "--deadline-ms", str(_DEADLINE_MS)],
    )
    watched = group.start(
        f"{kept.bank}-monitor",
        ["bank-node", "monitor", *where, "--data", str(served.payments)],
    )
    url = group.wait_for_line(service, _SERVICE_LISTENING, seconds=_WARM_SECONDS)
    send(url, files)
    # Without a report the page says how to make one: a world may be too short for weeks.
    watched.process.wait()
    return replace(kept, service_url=url, example=files.example)
