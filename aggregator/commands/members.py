"""``aggregator invites``, ``banks`` and ``epochs``: the members and their keys, at a service."""

from typing import Any

import click

from aggregator.commands.options import client_options, opened_client, print_lines, utc
from fraudfed.console import answers, say
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.wire.messages import Invite, InviteRequest, KeyEpochStatus, Roster, parse


@click.group()
def invites() -> None:
    """Invite banks."""


def _show_invite(invite: Invite) -> None:
    say(invite.code)
    say(f"for bank {invite.name}, until {utc(invite.expires_at)}", err=True)


@invites.command(name="create")
@client_options
@click.option("--name", required=True, help="Name of the bank.")
@click.option(
    "--valid-seconds",
    type=click.IntRange(1, 90 * 86_400),
    default=7 * 86_400,
    show_default=True,
    help="How long the invitation can be used; the default is a week.",
)
@answers(Invite, _show_invite)
def create_invite(name: str, valid_seconds: int, **connection: Any) -> Invite:
    """Invite a bank and print the code, which works once and is not shown again."""
    request = parse(InviteRequest, {"name": name, "valid_seconds": valid_seconds}, source="options")
    with opened_client(**connection) as client:
        return client.create_invite(request)


@click.group()
def banks() -> None:
    """List and remove the members of the consortium."""


def _show_roster(roster: Roster) -> None:
    for member in roster.members:
        shown = fingerprint(member.name, member.signing_key, member.agreement_key)
        say(f"{member.name}  {shown}")
    for name in sorted({one.removed.name for one in roster.removals}):
        signers = ", ".join(one.signer for one in roster.removals if one.removed.name == name)
        say(f"removal of {name} is signed by {signers}", err=True)


@banks.command(name="list")
@client_options
@answers(Roster, _show_roster)
def list_banks(**connection: Any) -> Roster:
    """List the members with their fingerprints."""
    with opened_client(**connection) as client:
        return client.roster()


@banks.command(name="remove")
@client_options
@click.argument("name")
@answers(Roster, _show_roster)
def remove_bank(name: str, **connection: Any) -> Roster:
    """Lock a bank out: its key epochs are superseded, runs that wait for it end.

    The other banks count it among the members until enough of them have signed its removal with
    'bank-node roster --remove'.
    """
    with opened_client(**connection) as client:
        return client.remove_bank(name)


@click.group()
def epochs() -> None:
    """Show key epochs."""


def _show_epoch(status: KeyEpochStatus) -> None:
    announced = status.key_epoch
    done = [one.bank for one in status.acknowledged]
    missing = [member.name for member in announced.roster if member.name not in done]
    print_lines(
        {
            "epoch": announced.epoch,
            "state": status.state.value,
            "steward": announced.steward,
            "banks": ", ".join(member.name for member in announced.roster),
            "acknowledged": ", ".join(done) or "-",
            "not yet": ", ".join(missing) or "-",
            "public key": announced.public_key.fingerprint,
        }
    )


@epochs.command(name="show")
@client_options
@click.argument("epoch", type=click.IntRange(min=1), required=False)
@answers(KeyEpochStatus, _show_epoch)
def show_epoch(epoch: int | None, **connection: Any) -> KeyEpochStatus:
    """Show the newest key epoch, or number EPOCH."""
    with opened_client(**connection) as client:
        return client.key_epoch(epoch)
