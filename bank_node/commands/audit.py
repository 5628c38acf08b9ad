"""``bank-node audit``: check and explain the log of everything that left this bank."""

from pathlib import Path

import click

from bank_node.audit.check import check_against_aggregator
from bank_node.audit.explain import explain
from bank_node.commands.options import answers, passphrase_option, state_option
from bank_node.commands.output import ExplainedAudit, VerifiedAudit
from bank_node.consortium.connection import connect, read_passphrase
from bank_node.state.audit_log import verify_audit_log
from bank_node.state.directory import StateDirectory
from fraudfed.console import say


@click.group()
def audit() -> None:
    """Check and explain the log of everything that left this bank."""


def _show_verified(verified: VerifiedAudit) -> None:
    say(f"{verified.path}: {verified.entries} entries, chain and signatures are whole")
    if verified.compared_runs is not None:
        say(f"the aggregator's log agrees on {verified.compared_runs} runs")


@audit.command("verify")
@state_option
@passphrase_option
@click.option(
    "--against-aggregator",
    is_flag=True,
    help="Also compare with the aggregator's log, of every run or of --run.",
)
@click.option("--run", "run_id", default=None, help="Compare this run only.  [default: all]")
@answers(VerifiedAudit, _show_verified)
def audit_verify(
    path: Path, passphrase_file: Path | None, against_aggregator: bool, run_id: str | None
) -> VerifiedAudit:
    """Check that the log is whole, and that it agrees with the aggregator's."""
    state = StateDirectory(path)
    entries = verify_audit_log(state.audit_path, signing_key=state.config.signing_key)
    compared = None
    if against_aggregator:
        with connect(state, read_passphrase(passphrase_file)) as connection:
            compared = check_against_aggregator(state, connection.client, entries, run_id=run_id)
    return VerifiedAudit(path=str(state.audit_path), entries=len(entries), compared_runs=compared)


def _show_explained(explained: ExplainedAudit) -> None:
    for line in explained.lines:
        say(line)


@audit.command("explain")
@state_option
@click.option("--run", "run_id", default=None, help="Explain this run only.  [default: all]")
@answers(ExplainedAudit, _show_explained)
def audit_explain(path: Path, run_id: str | None) -> ExplainedAudit:
    """List in plain words every field that left this bank; needs no network."""
    state = StateDirectory(path)
    entries = verify_audit_log(state.audit_path, signing_key=state.config.signing_key)
    return ExplainedAudit(lines=tuple(explain(entries, run_id=run_id)))
