"""Where to look after a demo: at its report, at pages, and at a service that scores payments."""

import os
import shlex
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.console import say
from fraudfed.lab.demo.data import DemoData
from fraudfed.lab.local_federation.kept import Kept, kept_open
from fraudfed.lab.local_federation.served import ServedModel


def how_to_look(work: Path, *, bank: str, report: Path) -> Iterator[str]:
    """Yield lines that say where the report is, and how pages are opened."""
    yield f"report: {report}"
    yield (
        "pages: run the demo with --keep, or start 'aggregator serve --state "
        f"{work / 'aggregator'}' and 'bank-node pages --state {work / 'banks' / bank}'"
    )


def served_model(data: DemoData, run_id: str, work: Path) -> ServedModel | None:
    """Return what the first bank's service scores with; None where there are no such payments."""
    bank, contract = data.banks[0], data.contract
    if contract.recipe != RECIPE or bank.test_file.suffix != ".parquet":
        return None
    return ServedModel(
        run_id=run_id,
        payments=bank.test_file,
        scores=work / "banks" / bank.name / "scores.parquet",
        currency="EUR" if contract.currency is None else contract.currency.code,
    )


def keep_until_stopped(work: Path, *, bank: str, report: Path, served: ServedModel | None) -> None:
    """Serve pages and payments until Ctrl-C or SIGTERM, and say where, and what signs in.

    Raises
    ------
    FraudFedError
        The error of a program that does not start.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    if served is not None:
        # On stderr: what a program reads from stdout is complete.
        say(f"starting the scoring service of {bank} on its past payments", err=True)
    with kept_open(work, bank=bank, served=served) as kept:
        for line in _lines(kept, report):
            say(line, err=True)
        stopped.wait()
    say("stopped", err=True)


def _lines(kept: Kept, report: Path) -> Iterator[str]:
    yield f"report:          {report}"
    yield f"operator pages:  {kept.aggregator_url}"
    yield f"  sign in with   {kept.aggregator_token.read_text().strip()}"
    yield f"pages of {kept.bank}: {kept.bank_url}"
    yield f"  sign in with   {kept.bank_token.read_text().strip()}"
    if kept.service_url is None or kept.example is None:
        yield (
            "no scoring service: it scores payments that customers make, and this demo's data are "
            "others"
        )
    else:
        yield f"scoring service: {kept.service_url}; score a payment with"
        yield (
            "  curl -H 'Content-Type: application/json' "
            f"-d @{shlex.quote(str(kept.example))} {kept.service_url}/v1/payments"
        )
        yield f"  and see why under Alerts: {kept.bank_url}alert?id=demo-1"
    yield f"Press Ctrl-C to stop all of this, or: kill {os.getpid()}"
