"""``bank-node join`` and ``bank-node roster``: become a member, and know the others."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from bank_node.commands.options import (
    PATH,
    answers,
    passphrase_option,
    state_option,
)
from bank_node.commands.output import Joined, Roster, RosterMember
from bank_node.config import RulesFile, TlsFiles, read_rules
from bank_node.consortium.connection import connect, read_passphrase
from bank_node.consortium.enrolment import enrol
from bank_node.consortium.members import confirm_members, observe_roster, own_fingerprint
from bank_node.state.directory import StateDirectory
from bank_node.vault.key_sources import KeyringSource, PassphraseSource, Pkcs11Source, Source
from fraudfed.console import examples, say, stdout_console
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.wire.messages import BankName, MemberKeys

#: ``--confirm`` without a name; no bank can be called so.
EVERYBODY = "*"


def _show_joined(joined: Joined) -> None:
    say(
        f"bank {joined.name} is registered at {joined.aggregator}; its fingerprint is",
        f"  {joined.fingerprint}",
        "Read it to the other banks over the phone, and compare theirs with 'bank-node roster'.",
    )


@click.command(
    epilog=examples(
        "bank-node join --state bank-a --name bank-a \\",
        "    --aggregator https://aggregator.example --invite CODE",
    )
)
@state_option
@click.option("--name", required=True, help="Name of the bank, as the operator invited it.")
@click.option("--aggregator", required=True, help="URL of the aggregator; https, or loopback.")
@click.option("--invite", required=True, help="One-time code from the operator.")
@passphrase_option
@click.option(
    "--rules",
    "rules_file",
    type=PATH,
    default=None,
    help="TOML file with the rules to begin with, as in bank.toml.  [default: the strictest]",
)
@click.option(
    "--keyring",
    "in_keyring",
    is_flag=True,
    help="Encrypt what is secret under a key in the system's keyring.",
)
@click.option(
    "--pkcs11-module",
    type=PATH,
    default=None,
    help="Encrypt what is secret under a key in a PKCS#11 token: path of the token's library.",
)
@click.option("--pkcs11-token", default=None, help="Label of the token.")
@click.option("--pkcs11-key", default=None, help="Label of the AES key in the token.")
@click.option(
    "--ca-file",
    type=PATH,
    default=None,
    help="Certificates (PEM) to trust for https instead of the system's; kept in bank.toml.",
)
@click.option(
    "--client-certificate",
    type=PATH,
    default=None,
    help="This bank's TLS certificate (PEM), if the aggregator asks for one; kept in bank.toml.",
)
@click.option(
    "--client-key",
    type=PATH,
    default=None,
    help="Key (PEM) of the client certificate; kept in bank.toml.",
)
@answers(Joined, _show_joined)
def join(
    path: Path,
    name: str,
    aggregator: str,
    invite: str,
    passphrase_file: Path | None,
    in_keyring: bool,
    pkcs11_module: Path | None,
    pkcs11_token: str | None,
    pkcs11_key: str | None,
    rules_file: Path | None,
    ca_file: Path | None,
    client_certificate: Path | None,
    client_key: Path | None,
) -> Joined:
    """Make this bank's keys and register them at the aggregator.

    If the registration is cut off, the same command finishes it.
    """
    if (client_certificate is None) != (client_key is None):
        raise click.UsageError("--client-certificate and --client-key belong together")
    passphrase = read_passphrase(passphrase_file)
    state = enrol(
        path,
        name=_bank_name(name),
        url=aggregator,
        invite=invite,
        passphrase=passphrase,
        source=_key_source(
            passphrase, in_keyring=in_keyring, token=(pkcs11_module, pkcs11_token, pkcs11_key)
        ),
        rules=(RulesFile() if rules_file is None else read_rules(rules_file)).rules,
        tls=TlsFiles(
            ca_file=_absolute(ca_file),
            client_certificate=_absolute(client_certificate),
            client_key=_absolute(client_key),
        ),
    )
    return Joined(name=name, aggregator=state.config.aggregator, fingerprint=own_fingerprint(state))


def _key_source(
    passphrase: str | None,
    *,
    in_keyring: bool,
    token: tuple[Path | None, str | None, str | None],
) -> Callable[[], Source] | None:
    """Return what makes the key source of a new state directory; None does not encrypt it."""
    module, label, key = token
    if any(part is not None for part in token):
        if in_keyring or module is None or label is None or key is None:
            raise click.UsageError(
                "--pkcs11-module, --pkcs11-token and --pkcs11-key belong together, without "
                "--keyring; the passphrase file holds the token's PIN"
            )
        where = str(module.absolute())
        return lambda: Pkcs11Source(module=where, token=label, key=key, pin=passphrase)
    if in_keyring:
        if passphrase is not None:
            raise click.UsageError("--keyring needs no --passphrase-file; give one of the two")
        return KeyringSource
    return None if passphrase is None else lambda: PassphraseSource(passphrase)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _bank_name(name: str) -> BankName:
    try:
        return TypeAdapter(BankName).validate_python(name)
    except ValidationError:
        raise click.BadParameter(
            f"{name!r} is no bank name; use up to 63 of a-z, 0-9, - and _, beginning with a "
            "letter or digit",
            param_hint="--name",
        ) from None


def _show_roster(roster: Roster) -> None:
    from rich.table import Table

    table = Table("bank", "fingerprint", "confirmed")
    for one in roster.members:
        confirmed = "yes" if one.confirmed else "no"
        left = "" if one.member else ", left"
        table.add_row(one.name, one.fingerprint, "this bank" if one.self else confirmed + left)
    stdout_console().print(table)


@click.command(
    epilog=examples(
        "bank-node roster --state bank-a",
        "bank-node roster --state bank-a --confirm bank-b",
    )
)
@state_option
@passphrase_option
@click.option(
    "--confirm",
    is_flag=False,
    flag_value=EVERYBODY,
    default=None,
    metavar="[NAME]",
    help="Record that the fingerprint was compared with its owner; of all members without NAME.",
)
@answers(Roster, _show_roster)
def roster(path: Path, passphrase_file: Path | None, confirm: str | None) -> Roster:
    """Show every member's fingerprint, and record which ones a person has compared."""
    state = StateDirectory(path)
    with state.locked(), connect(state, read_passphrase(passphrase_file)) as connection:
        observed = observe_roster(state, connection.client)
        if confirm is not None:
            name = None if confirm == EVERYBODY else confirm
            observed = confirm_members(state, observed, name)
    return Roster(
        members=roster_members(observed.pins, name=state.config.name, current=observed.members)
    )


def roster_members(
    pins: PinnedRoster, *, name: str, current: Iterable[MemberKeys] | None = None
) -> tuple[RosterMember, ...]:
    """Return each pinned bank; ``current`` are the current members, if they are known."""
    names = None if current is None else {member.name for member in current}
    return tuple(
        RosterMember(
            name=pin.keys.name,
            fingerprint=pin.fingerprint,
            confirmed=pin.confirmed,
            first_seen=pin.first_seen,
            self=pin.keys.name == name,
            member=None if names is None else pin.keys.name in names,
        )
        for pin in pins.pins
    )
