"""``bank-node join`` and ``bank-node roster``: become a member, and know the others."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from bank_node.commands.options import (
    PATH,
    Output,
    answers,
    passphrase_option,
    state_option,
)
from bank_node.commands.output import Joined, Roster, RosterMember, TrustFacts
from bank_node.config import RulesFile, TlsFiles, read_rules
from bank_node.consortium.connection import Connection, connect, read_passphrase
from bank_node.consortium.enrolment import enrol
from bank_node.consortium.members import (
    change_roster,
    own_fingerprint,
    remove_member,
    show_roster,
    trust_of,
)
from bank_node.state.directory import StateDirectory
from bank_node.vault.key_sources import KeyringSource, PassphraseSource, Pkcs11Source, Source
from fraudfed.console import examples, stdout_console
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.consortium.trust import TrustKind
from fraudfed.wire.messages import BankName, MemberKeys

#: ``--confirm`` without a code; no code can be that.
AS_SHOWN = "*"


def _show_joined(joined: Joined) -> None:
    click.echo(
        f"bank {joined.name} is registered at {joined.aggregator}; its fingerprint is\n"
        f"  {joined.fingerprint}\n"
        "When all banks have joined, compare the one code of 'bank-node roster' with them over\n"
        "the phone."
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
    "--insecure-trust-first-use",
    "first_use",
    is_flag=True,
    help="For demos and tests: take part with members that nobody has confirmed; kept in "
    "bank.toml and said in every record.",
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
    first_use: bool,
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
    rules = (RulesFile() if rules_file is None else read_rules(rules_file)).rules
    if first_use:
        rules = rules.model_copy(update={"insecure_trust_first_use": True})
    state = enrol(
        path,
        name=_bank_name(name),
        url=aggregator,
        invite=invite,
        passphrase=passphrase,
        source=_key_source(
            passphrase, in_keyring=in_keyring, token=(pkcs11_module, pkcs11_token, pkcs11_key)
        ),
        rules=rules,
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


def _bank_name(name: str, *, option: str = "--name") -> BankName:
    try:
        return TypeAdapter(BankName).validate_python(name)
    except ValidationError:
        raise click.BadParameter(
            f"{name!r} is no bank name; use up to 63 of a-z, 0-9, - and _, beginning with a "
            "letter or digit",
            param_hint=option,
        ) from None


def _show_roster(roster: Roster) -> None:
    from rich.table import Table

    table = Table("bank", "fingerprint", "trust")
    for one in roster.members:
        table.add_row(one.name, one.fingerprint, _trust_in(one, roster.trust))
    stdout_console().print(table)
    trust = roster.trust
    if trust.kind is TrustKind.FIRST_USE:
        click.echo("INSECURE: members count whom nobody has confirmed (insecure_trust_first_use).")
    click.echo(
        f"Takes part in sets of {trust.least_banks} banks and more, as it tolerates "
        f"{trust.tolerated_colluders} that put their parts together; banks of one owner count "
        f"once, {trust.counted_owners} count now."
    )
    if roster.code is None:
        return
    shown = set(roster.code_of)
    click.echo(
        f"\nThe code of {', '.join(roster.code_of)}:\n\n  {roster.code}\n\n"
        "It is the same at every bank that sees the same members. Compare it with another bank's\n"
        "on the telephone, then 'bank-node roster --confirm CODE' with what that bank read out."
    )
    later = [one.name for one in roster.members if one.name not in shown and not one.confirmed]
    if later:
        click.echo(
            f"{', '.join(later)} came later and is not confirmed by that: show the roster again."
        )


def _trust_in(one: RosterMember, trust: TrustFacts) -> str:
    words = ["this bank" if one.self else "confirmed" if one.confirmed else "NOT CONFIRMED"]
    if one.owner is not None:
        words.append(f"owner {one.owner}")
    if one.left:
        words.append("left: removed by " + ", ".join(one.removal_signed_by))
    elif one.removal_signed_by:
        signers = ", ".join(one.removal_signed_by)
        needed = trust.tolerated_colluders + 1
        words.append(f"removal signed by {signers}, by {needed} owners it counts")
    if one.member is False and not one.left:
        words.append("locked out by the operator, not removed by the members")
    return "; ".join(words)


@click.command(
    epilog=examples(
        "bank-node roster --state bank-a",
        "bank-node roster --state bank-a --confirm 60313-84951-...",
        "bank-node roster --state bank-a --owner bank-b='Example Group plc'",
    )
)
@state_option
@passphrase_option
@click.option(
    "--confirm",
    is_flag=False,
    flag_value=AS_SHOWN,
    default=None,
    metavar="[CODE]",
    help="Record that the code was compared: confirm the members that were last shown, and no "
    "others; needs no network. CODE is what another bank read out.",
)
@click.option(
    "--confirm-member",
    default=None,
    metavar="NAME",
    help="Record that the fingerprint of this member, which was shown, was compared.",
)
@click.option(
    "--owner",
    "owners",
    multiple=True,
    metavar="NAME=OWNER",
    help="Record to whom a bank belongs; banks of one owner count once. NAME= takes it back.",
)
@click.option(
    "--remove",
    default=None,
    metavar="NAME",
    help="Sign that this member has left, for all banks to see.",
)
@answers(Roster, _show_roster)
@click.pass_obj
def roster(
    output: Output,
    /,
    path: Path,
    passphrase_file: Path | None,
    confirm: str | None,
    confirm_member: str | None,
    owners: tuple[str, ...],
    remove: str | None,
) -> Roster:
    """Show every member and one code for all; record which ones a person has compared."""
    changes = [confirm is not None, confirm_member is not None, bool(owners), remove is not None]
    if sum(changes) > 1:
        raise click.UsageError(
            "--confirm, --confirm-member, --owner and --remove are given one at a time"
        )
    state = StateDirectory(path)
    with state.locked():
        if confirm is not None:
            code = None if confirm == AS_SHOWN else confirm
            pins = change_roster(state, lambda pins: pins.confirm_shown(code))
        elif confirm_member is not None:
            pins = change_roster(state, lambda pins: pins.confirm_member(confirm_member))
        elif owners:
            recorded = [_owner(text) for text in owners]

            def own(pins: PinnedRoster) -> PinnedRoster:
                for name, owner in recorded:
                    pins = pins.own(name, owner)
                return pins

            pins = change_roster(state, own)
        else:
            with connect(state, read_passphrase(passphrase_file)) as connection:
                return _from_aggregator(state, connection, output, remove)
    return _roster(state, pins)


def _from_aggregator(
    state: StateDirectory, connection: Connection, output: Output, remove: str | None
) -> Roster:
    if remove is not None:
        observed = remove_member(state, connection.client, connection.identity, remove)
    else:
        as_json = click.get_current_context().params["as_json"]
        observed = show_roster(state, connection.client, to_a_person=as_json or not output.quiet)
    return _roster(state, observed.pins, current=observed.members)


def _owner(text: str) -> tuple[str, str | None]:
    name, separator, owner = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r}: expected NAME=OWNER", param_hint="--owner")
    return _bank_name(name, option="--owner"), owner.strip() or None


def _roster(
    state: StateDirectory, pins: PinnedRoster, *, current: Iterable[MemberKeys] | None = None
) -> Roster:
    shown = pins.shown
    return Roster(
        members=roster_members(pins, name=state.config.name, current=current),
        code=None if shown is None else shown.code,
        code_of=() if shown is None else tuple(member.name for member in shown.members),
        trust=trust_facts(state, pins),
    )


def trust_facts(state: StateDirectory, pins: PinnedRoster) -> TrustFacts:
    """Return with whom this bank computes."""
    trust = trust_of(state, pins)
    return TrustFacts(
        kind=trust.kind,
        tolerated_colluders=trust.tolerated_colluders,
        least_banks=trust.least_banks,
        counted_owners=trust.independent(trust.owners),
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
            owner=pin.owner,
            left=pin.left,
            removal_signed_by=pins.signers_of_removal(pin.keys.name),
            first_seen=pin.first_seen,
            self=pin.keys.name == name,
            member=None if names is None else pin.keys.name in names,
        )
        for pin in pins.pins
    )
