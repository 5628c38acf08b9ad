"""``aggregator runs``: open, list, show and end runs, at a running service."""

from typing import Any

import click

from aggregator.commands.creating import CREATING
from aggregator.commands.options import client_options, opened_client, print_lines
from fraudfed.console import answers, say
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import DropRequest, RunList, RunStatus, parse


@click.group()
def runs() -> None:
    """Open, list, show and end runs."""


for _command in CREATING:
    runs.add_command(_command)


def _present(status: RunStatus) -> int:
    """Return how many banks take part, at the start how many of them have joined."""
    return len(set(status.generation.banks) & set(status.members))


def _waits(status: RunStatus) -> str:
    """Return what is waited for and from whom, empty if nothing is."""
    waits = status.waits_for
    if waits is None:
        return ""
    what = {"join": "joining", "ready": "agreement"}.get(waits.what, waits.what)
    return f"{what} of {', '.join(waits.banks)}"


def _show_status(status: RunStatus) -> None:
    print_lines(
        {
            "run": status.run_id,
            "name": status.spec.name,
            "kind": status.spec.kind.value,
            "state": status.state.value,
            "key epoch": status.spec.key_epoch,
            "joined": f"{', '.join(status.members) or '-'} ({len(status.members)} of "
            f"{len(status.cohort)})",
            "takes part": f"{', '.join(status.generation.banks)} "
            f"(generation {status.generation.number})",
            "comes in next": ", ".join(status.waiting) or "-",
            "contributed": ", ".join(status.contributed) or "-",
            "waits for": _waits(status) or "-",
            "rounds": status.round_number,
            "ciphertexts": status.ciphertexts,
            "bytes received": status.bytes_received,
            "model": status.model_sha256 or "-",
            "failure": status.failure or "-",
        }
    )


def _show_runs(found: RunList) -> None:
    for status in found.runs:
        waits = _waits(status)
        say(
            f"{status.run_id}  {status.state:<9}  {_present(status)}/{len(status.cohort)} "
            f"banks  {status.round_number} rounds  {status.spec.name}"
            + (f"  (waits for {waits})" if waits else "")
        )


@runs.command(name="list")
@client_options
@answers(RunList, _show_runs)
def list_runs(**connection: Any) -> RunList:
    """List all runs, newest first."""
    with opened_client(**connection) as client:
        return client.list_runs()


@runs.command(name="show")
@client_options
@click.argument("run_id")
@answers(RunStatus, _show_status)
def show_run(run_id: str, **connection: Any) -> RunStatus:
    """Show one run."""
    with opened_client(**connection) as client:
        return client.show_run(run_id)


_reason_option = click.option(
    "--reason", required=True, help="Stands in the audit log, which every bank of the run can read."
)


@runs.command(name="cancel")
@client_options
@click.argument("run_id")
@_reason_option
@answers(RunStatus, _show_status)
def cancel_run(run_id: str, reason: str, **connection: Any) -> RunStatus:
    """End a run for all its banks, without a model."""
    _check_reason(reason)
    with opened_client(**connection) as client:
        return client.cancel_run(run_id, reason)


@runs.command(name="drop-bank")
@client_options
@click.argument("run_id")
@click.argument("bank")
@_reason_option
@answers(RunStatus, _show_status)
def drop_bank(run_id: str, bank: str, reason: str, **connection: Any) -> RunStatus:
    """Let the other banks continue without BANK, from the last step they all have.

    BANK may rejoin. What was summed with BANK in the step that is repeated shows BANK's part by
    difference: once per drop, so drop no bank that is only slow.
    """
    _check_reason(reason)
    request = parse(DropRequest, {"bank": bank, "reason": reason}, source="options")
    with opened_client(**connection) as client:
        return client.drop_bank(run_id, request)


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason) <= 2000:
        raise ConfigurationError(f"--reason has {len(reason)} characters, expected 1 to 2000")
