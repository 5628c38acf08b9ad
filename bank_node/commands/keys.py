"""``bank-node keys``: make, accept and show the consortium's keys."""

from pathlib import Path

import click

from bank_node.commands.options import answers, facts_table, passphrase_option, state_option
from bank_node.commands.output import AcceptedKeyEpoch, HeldKeyEpoch, HeldKeyEpochs
from bank_node.consortium.ceremony import AcceptedEpoch, accept_epoch, create_epoch
from bank_node.consortium.connection import connect, read_passphrase
from bank_node.consortium.members import observe_roster
from bank_node.state.directory import StateDirectory
from fraudfed.console import say, stdout_console
from fraudfed.consortium.public.documents import key_epoch_digest
from fraudfed.paillier.keys import DEFAULT_KEY_BITS, MAXIMUM_KEY_BITS, MINIMUM_KEY_BITS

_key_bits_option = click.option(
    "--key-bits",
    type=click.IntRange(min=MINIMUM_KEY_BITS, max=MAXIMUM_KEY_BITS),
    default=DEFAULT_KEY_BITS,
    show_default=True,
    help="Size of the Paillier key.",
)


_without_option = click.option(
    "--without",
    multiple=True,
    metavar="NAME",
    help="Take a key that this member is left out of, though the members have not removed it; "
    "name each one that is missing.",
)


@click.group()
def keys() -> None:
    """Make, accept and show the consortium's keys."""


def _show_made(epoch: AcceptedKeyEpoch) -> None:
    say(f"key epoch {epoch.epoch} is made and sealed to {', '.join(epoch.members)}")
    say(_readiness(epoch))


@keys.command("create")
@state_option
@passphrase_option
@_key_bits_option
@_without_option
@answers(AcceptedKeyEpoch, _show_made)
def keys_create(
    path: Path, passphrase_file: Path | None, key_bits: int, without: tuple[str, ...]
) -> AcceptedKeyEpoch:
    """Make the consortium's first key and seal it to every member."""
    return _make_epoch(path, passphrase_file, key_bits, without, rotate=False)


@keys.command("rotate")
@state_option
@passphrase_option
@_key_bits_option
@_without_option
@answers(AcceptedKeyEpoch, _show_made)
def keys_rotate(
    path: Path, passphrase_file: Path | None, key_bits: int, without: tuple[str, ...]
) -> AcceptedKeyEpoch:
    """Make a new key for the current members; needed whenever a bank joins or leaves."""
    return _make_epoch(path, passphrase_file, key_bits, without, rotate=True)


def _make_epoch(
    path: Path,
    passphrase_file: Path | None,
    key_bits: int,
    without: tuple[str, ...],
    *,
    rotate: bool,
) -> AcceptedKeyEpoch:
    state = StateDirectory(path)
    with state.locked(), connect(state, read_passphrase(passphrase_file)) as connection:
        epoch = create_epoch(
            state,
            connection,
            observe_roster(state, connection.client),
            key_bits=key_bits,
            rotate=rotate,
            without=without,
        )
    return _accepted(epoch)


def _accepted(epoch: AcceptedEpoch) -> AcceptedKeyEpoch:
    return AcceptedKeyEpoch(
        epoch=epoch.key_epoch.epoch,
        steward=epoch.key_epoch.steward,
        members=tuple(member.name for member in epoch.key_epoch.roster),
        key_bits=epoch.package.public_key.key_bits,
        key_package=epoch.package.fingerprint,
        active=epoch.active,
        missing=epoch.missing,
    )


def _readiness(epoch: AcceptedKeyEpoch) -> str:
    if epoch.active:
        return "every member has accepted it: runs can use it"
    if epoch.missing:
        return f"{', '.join(epoch.missing)} still have to accept it: 'bank-node keys accept'"
    return "it is superseded: the members have changed, or there is a later one"


def _show_accepted(epoch: AcceptedKeyEpoch) -> None:
    say(
        f"key epoch {epoch.epoch} of steward {epoch.steward} is accepted: "
        f"{epoch.key_bits} bits, key package {epoch.key_package}"
    )
    say(_readiness(epoch))


@keys.command("accept")
@state_option
@passphrase_option
@_without_option
@answers(AcceptedKeyEpoch, _show_accepted)
def keys_accept(
    path: Path, passphrase_file: Path | None, without: tuple[str, ...]
) -> AcceptedKeyEpoch:
    """Check the latest key epoch, keep its key, and acknowledge it to all."""
    state = StateDirectory(path)
    with state.locked(), connect(state, read_passphrase(passphrase_file)) as connection:
        observed = observe_roster(state, connection.client)
        epoch = accept_epoch(state, connection, observed, without=without)
    return _accepted(epoch)


def held_key_epochs(state: StateDirectory) -> tuple[HeldKeyEpoch, ...]:
    """Return each key epoch that this bank has accepted, oldest first."""
    return tuple(
        HeldKeyEpoch(
            epoch=key_epoch.epoch,
            steward=key_epoch.steward,
            roster=tuple(member.name for member in key_epoch.roster),
            key_bits=int(key_epoch.public_key.n, 16).bit_length(),
            key_fingerprint=key_epoch.public_key.fingerprint,
            digest=key_epoch_digest(key_epoch),
        )
        for key_epoch in map(state.key_epoch, state.epochs())
        if key_epoch is not None
    )


def _show_held(held: HeldKeyEpochs) -> None:
    if not held.key_epochs:
        say("no key epoch was accepted yet")
        return
    console = stdout_console()
    for epoch in held.key_epochs:
        table = facts_table(f"key epoch {epoch.epoch}")
        table.add_row("steward", epoch.steward)
        table.add_row("banks", ", ".join(epoch.roster))
        table.add_row("key", f"{epoch.key_bits} bits, {epoch.key_fingerprint}")
        table.add_row("digest", epoch.digest)
        console.print(table)


@keys.command("show")
@state_option
@answers(HeldKeyEpochs, _show_held)
def keys_show(path: Path) -> HeldKeyEpochs:
    """Show the key epochs that this bank holds; needs no network."""
    return HeldKeyEpochs(key_epochs=held_key_epochs(StateDirectory(path)))
