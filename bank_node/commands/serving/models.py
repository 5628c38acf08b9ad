"""``bank-node models``: which model is in charge at this bank, and how it came to be."""

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bank_node.commands.options import PATH, answers, facts_table, state_option
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say, stdout_console
from fraudfed.errors import ConfigurationError

if TYPE_CHECKING:
    from bank_node.lifecycle.changes import Wish
    from bank_node.lifecycle.lineage import ListedModels, ModelLineage
    from bank_node.lifecycle.stage_history import GateEvidence, StageEvent

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def models() -> None:
    """See which model is in charge at this bank, and change it; needs no network."""


def _listed() -> "type[ListedModels]":
    # What reads models takes a second to import, which no other command needs.
    from bank_node.lifecycle.lineage import ListedModels

    return ListedModels


def _lineage() -> "type[ModelLineage]":
    from bank_node.lifecycle.lineage import ModelLineage

    return ModelLineage


def _event() -> "type[StageEvent]":
    from bank_node.lifecycle.stage_history import StageEvent

    return StageEvent


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _show_list(found: "ListedModels") -> None:
    from rich.table import Table

    if not found.models:
        say("this bank has no model yet; finish a run with 'bank-node train'")
        return
    table = Table("model", "stage", "since", "sha256", title="models of this bank")
    for each in found.models:
        since = "" if each.since is None else _time(each.since)
        table.add_row(each.model, each.stage.value, since, each.sha256[:16])
    stdout_console().print(table)
    if found.previous is not None:
        say(f"'bank-node models rollback' goes back to {found.previous}")


@models.command(name="list", epilog=examples("bank-node models list --state bank-a"))
@state_option
@answers(_listed, _show_list)
def list_models(path: Path) -> "ListedModels":
    """List the models of this bank with their stages."""
    from bank_node.lifecycle.lineage import listed

    return listed(StateDirectory(path))


def _show_lineage(found: "ModelLineage") -> None:
    contract, run = found.data.contract, found.run
    table = facts_table(f"model {found.model}")
    table.add_row("stage", found.stage.value)
    table.add_row("what it is", found.what)
    table.add_row("sha256", found.sha256)
    table.add_row("file", found.file)
    table.add_row("run", f"{run.run_id} ({run.name}), {run.kind.value}, key epoch {run.key_epoch}")
    table.add_row("description", run.description_sha256)
    table.add_row("cohort", ", ".join(run.cohort))
    table.add_row("signed by", ", ".join(run.signed_by) or "nobody here knows: no record")
    table.add_row("recipe", f"{contract.recipe or 'a table'}, {len(contract.features)} features")
    for name, until in (
        ("trained until", contract.train_until),
        ("selected until", contract.select_until),
        ("judged until", contract.judge_until),
    ):
        if until is not None:
            table.add_row(name, _time(until))
    for window in found.data.windows:
        table.add_row(
            f"this bank's {window.name}", f"{window.rows:,} payments, {window.frauds:,} frauds"
        )
    if found.data.windows_sha256 is not None:
        table.add_row("digest of these", found.data.windows_sha256)
    table.add_row("risk tables", ", ".join(run.shared_risk) or "none")
    if run.candidates is not None:
        table.add_row("search", f"{run.winner or 'a winner'} of {run.candidates} candidates")
    shown = ", ".join(f"{name}={value}" for name, value in run.parameters.items())
    table.add_row("parameters", shown or "all as by default")
    table.add_row("gate", _gate_text(found.gate))
    stdout_console().print(table)
    for event in found.history:
        say(_event_text(event))


def _gate_text(gate: "GateEvidence | None") -> str:
    if gate is None:
        return "not asked: 'bank-node evaluate' does"
    verdict = gate.verdict or f"own model; of the shared one: {gate.own_verdict}"
    broken = f", breaks {'; '.join(gate.broken_limits)}" if gate.broken_limits else ""
    return f"{verdict}, {gate.cases} cases{broken}"


def _event_text(event: "StageEvent") -> str:
    moved = ", ".join(f"{e.model_sha256[:12]} {e.before} -> {e.after}" for e in event.moves)
    why = event.without_gate or event.reason
    note = "" if why is None else f" ({'without the gate: ' if event.without_gate else ''}{why})"
    return f"{_time(event.at)}  {event.action.value} by {event.by}: {moved}{note}"


@models.command(
    name="show",
    epilog=examples(
        "bank-node models show --state bank-a RUN_ID",
        "bank-node models show --state bank-a RUN_ID/blend --json",
    ),
)
@state_option
@click.argument("model")
@answers(_lineage, _show_lineage)
def show_model(path: Path, model: str) -> "ModelLineage":
    """Show where MODEL comes from, what the gate says of it, and what was decided."""
    from bank_node.lifecycle.lineage import lineage

    return lineage(StateDirectory(path), model)


_by_option = click.option(
    "--by", default=None, help="Who decides, for the history.  [default: the user's name here]"
)


def _wish(by: str | None, *, policy: Path | None = None, **given: str | None) -> "Wish":
    from bank_node.lifecycle.changes import Wish
    from bank_node.policy.policy_file import read_policy

    if by is None:
        try:
            by = getpass.getuser()
        except (OSError, KeyError):
            by = ""
    texts = {"--by": (by, 200), **{f"--{n.replace('_', '-')}": (t, 2000) for n, t in given.items()}}
    for option, (text, most) in texts.items():
        if text is not None and not 1 <= len(text.strip()) <= most:
            raise ConfigurationError(
                f"{option}: has {len(text.strip())} characters, expected 1 to {most}; say it in "
                "words that a reader of the history understands"
            )
    digest = None if policy is None else read_policy(policy).sha256
    return Wish(by=by, policy_sha256=digest, **given)


def _show_event(event: "StageEvent") -> None:
    say(_event_text(event))


@models.command(
    name="promote",
    epilog=examples(
        "bank-node models promote --state bank-a RUN_ID",
        "bank-node models promote --state bank-a RUN_ID/own --fallback",
    ),
)
@state_option
@click.argument("model")
@click.option(
    "--fallback",
    is_flag=True,
    help="Not in charge, but for the time that risk tables are too old; needs no gate.",
)
@click.option(
    "--without-gate",
    default=None,
    metavar="REASON",
    help="Why it is put in charge though the gate has not said adopt; the history keeps it.",
)
@click.option(
    "--policy", type=PATH, default=None, help="policy.toml that it will decide by, for the history."
)
@_by_option
@answers(_event, _show_event)
def promote(
    path: Path,
    model: str,
    fallback: bool,
    without_gate: str | None,
    policy: Path | None,
    by: str | None,
) -> "StageEvent":
    """Put MODEL in charge; the champion before it is retired.

    The last 'bank-node evaluate' of its run must have said adopt.
    """
    from bank_node.lifecycle.changes import stage
    from bank_node.lifecycle.stage_history import Action

    if fallback and without_gate is not None:
        raise ConfigurationError(
            "--fallback and --without-gate exclude each other: a fallback needs no gate; leave "
            "one of them out"
        )
    wish = _wish(by, policy=policy, without_gate=without_gate)
    action = Action.FALLBACK if fallback else Action.PROMOTE
    return stage(StateDirectory(path), action, model, wish)


@models.command(
    name="challenge", epilog=examples("bank-node models challenge --state bank-a RUN_ID")
)
@state_option
@click.argument("model")
@_by_option
@answers(_event, _show_event)
def challenge(path: Path, model: str, by: str | None) -> "StageEvent":
    """Let MODEL shadow the champion: it scores beside it and decides nothing."""
    from bank_node.lifecycle.changes import stage
    from bank_node.lifecycle.stage_history import Action

    return stage(StateDirectory(path), Action.CHALLENGE, model, _wish(by))


_reason_option = click.option("--reason", required=True, help="Stands in the history.")


@models.command(
    name="rollback",
    epilog=examples("bank-node models rollback --state bank-a --reason 'too many alerts'"),
)
@state_option
@_reason_option
@_by_option
@answers(_event, _show_event)
def rollback(path: Path, reason: str, by: str | None) -> "StageEvent":
    """Put the champion before the current one in charge again."""
    from bank_node.lifecycle.changes import roll_back

    return roll_back(StateDirectory(path), _wish(by, reason=reason))


@models.command(
    name="retire",
    epilog=examples("bank-node models retire --state bank-a RUN_ID --reason 'lost in shadow'"),
)
@state_option
@click.argument("model")
@_reason_option
@_by_option
@answers(_event, _show_event)
def retire(path: Path, model: str, reason: str, by: str | None) -> "StageEvent":
    """Take MODEL out of use: champion, challenger or fallback."""
    from bank_node.lifecycle.changes import stage
    from bank_node.lifecycle.stage_history import Action

    return stage(StateDirectory(path), Action.RETIRE, model, _wish(by, reason=reason))
