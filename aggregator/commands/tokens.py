"""``aggregator tokens``: API tokens of operators and viewers, on the state directory."""

import dataclasses
from pathlib import Path

import click

from aggregator.caller import Role
from aggregator.commands.options import opened_store, state_option, utc
from aggregator.commands.output import CreatedToken, ListedToken, ListedTokens, RevokedToken
from aggregator.consortium.tokens import DEFAULT_DAYS
from fraudfed.console import answers, say


@click.group()
def tokens() -> None:
    """Make, list and revoke API tokens, on the state directory."""


@tokens.command(name="create")
@state_option
@click.option(
    "--role",
    type=click.Choice([Role.OPERATOR.value, Role.VIEWER.value]),
    required=True,
    help="An operator may do all that the API offers; a viewer may only read.",
)
@click.option("--name", required=True, help="Name of the token, as the audit log shows it.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=DEFAULT_DAYS,
    show_default=True,
    help="After these the token is refused.",
)
@answers(CreatedToken, lambda created: say(created.token))
def create_token(state_path: Path, role: str, name: str, days: int) -> CreatedToken:
    """Make a token and print it; it is not shown again."""
    with opened_store(state_path) as store:
        token = store.tokens.create(name, Role(role), days=days)
    return CreatedToken(name=name, role=role, token=token, days=days)


def _show_listed(listed: ListedTokens) -> None:
    for token in listed.tokens:
        ended = "" if token.revoked_at is None else f", revoked {utc(token.revoked_at)}"
        say(
            f"{token.name}  {token.role}  made {utc(token.created_at)}, expires "
            f"{utc(token.expires_at)}{ended}"
        )


@tokens.command(name="list")
@state_option
@answers(ListedTokens, _show_listed)
def list_tokens(state_path: Path) -> ListedTokens:
    """List all tokens, revoked ones too."""
    with opened_store(state_path) as store:
        listed = store.tokens.listed()
    return ListedTokens(tokens=tuple(ListedToken(**dataclasses.asdict(one)) for one in listed))


@tokens.command(name="revoke")
@state_option
@click.argument("name")
@answers(RevokedToken, lambda revoked: say(f"token {revoked.name} is revoked"))
def revoke_token(state_path: Path, name: str) -> RevokedToken:
    """End a token; a running service refuses it from now on."""
    with opened_store(state_path) as store:
        store.tokens.revoke(name)
    return RevokedToken(name=name)
