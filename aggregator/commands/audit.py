"""``aggregator audit``: check and show the audit log, on the state directory."""

import re
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from aggregator.audit.log import AuditHead
from aggregator.commands.options import opened_store, state_option, utc
from aggregator.commands.output import AuditEntries, VerifiedAudit
from aggregator.service.store import Store
from fraudfed.console import answers, json_option, print_json, say, say_json
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import AuditEntry

_FOLLOW_SECONDS = 1.0


@click.group()
def audit() -> None:
    """Check and show the audit log, on the state directory."""


def _show_verified(verified: VerifiedAudit) -> None:
    say(
        f"audit log verifies: {verified.entries} entries, end {verified.entries}:{verified.hash}, "
        f"audit key {verified.audit_key}"
    )


@audit.command(name="verify")
@state_option
@click.option(
    "--expect",
    "expected",
    metavar="ENTRIES:HASH",
    help="End of the log as an earlier verify printed it; it must still be in the log.",
)
@answers(VerifiedAudit, _show_verified)
def verify_audit(state_path: Path, expected: str | None) -> VerifiedAudit:
    """Check every entry's hash, place and signature, and that nothing stored lacks its entry."""
    with opened_store(state_path) as store:
        head = store.audit.verify(expected=None if expected is None else _head(expected))
        return VerifiedAudit(entries=head.entries, hash=head.hash, audit_key=store.audit.public_key)


@audit.command(name="show")
@state_option
@click.option("--run", "run_id", metavar="ID", help="Only entries of this run.")
@click.option(
    "--start",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of the first entry.",
)
@click.option(
    "--json-lines", is_flag=True, help="One JSON object a line, with every field of an entry."
)
@click.option("--follow", is_flag=True, help="Do not end: print what is added, as it is added.")
@json_option(AuditEntries)
def show_audit(
    state_path: Path, run_id: str | None, start: int, json_lines: bool, follow: bool, as_json: bool
) -> None:
    """Print entries without checking them."""
    if as_json and (json_lines or follow):
        raise ConfigurationError(
            "--json prints one document; it goes together with neither --json-lines nor --follow"
        )
    with opened_store(state_path) as store:
        pages = _pages(store, run_id, start)
        if as_json:
            print_json(AuditEntries, AuditEntries(entries=tuple(chain.from_iterable(pages))))
            return
        show = _show_line if json_lines else _show_entry
        while True:
            # A log may be longer than the memory holds.
            for entry in chain.from_iterable(_pages(store, run_id, start)):
                show(entry)
                start = entry.seq + 1
            if not follow:
                return
            sys.stdout.flush()
            time.sleep(_FOLLOW_SECONDS)


def _show_line(entry: AuditEntry) -> None:
    say_json(entry.model_dump_json())


def _show_entry(entry: AuditEntry) -> None:
    body = "" if entry.body_sha256 is None else f"  body {entry.body_sha256}"
    say(
        f"{entry.seq}  {utc(entry.time)}  {entry.status.value:<8}  {entry.kind}  "
        f"{entry.actor}  {entry.subject}  {entry.detail}{body}"
    )


def _pages(store: Store, run_id: str | None, start: int) -> Iterator[tuple[AuditEntry, ...]]:
    while page := store.audit.entries(run_id=run_id, start=start):
        yield page
        start = page[-1].seq + 1


def _head(text: str) -> AuditHead:
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if match is None:
        raise ConfigurationError(
            f"--expect {text!r}: is no end of a log",
            what_to_do="give ENTRIES:HASH as `aggregator audit verify` printed it",
        )
    return AuditHead(int(match[1]), match[2])
