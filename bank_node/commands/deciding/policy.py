"""``bank-node policy``: check a policy, and try it on past payments."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.deciding.answers import (
    CheckedPolicy,
    TriedOn,
    TriedPolicies,
    TriedPolicy,
)
from bank_node.commands.deciding.common import history_of, log_of, opened
from bank_node.commands.options import (
    PATH,
    answers,
    last_run_option,
    map_option,
    passphrase_option,
    rows_option,
    state_option,
)
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say, stdout_console
from fraudfed.errors import ConfigurationError

if TYPE_CHECKING:
    from bank_node.outcomes.past import PastPayment
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location

_DAY = 86_400


@click.group()
def policy() -> None:
    """Check what is done with payments, and try it on past ones; needs no network."""


def _show_checked(checked: CheckedPolicy) -> None:
    mode = ", warn-only" if checked.warn_only else ""
    say(f"policy {checked.version!r}{mode}: {len(checked.rules)} rules, {', '.join(checked.rules)}")
    say(f"digest {checked.sha256}")
    if checked.needs_probability:
        say("it reads calibrated probabilities: run 'bank-node calibrate' before you serve with it")


@policy.command("check", epilog=examples("bank-node policy check policy.toml --state bank-a"))
@click.argument("policy_file", type=PATH)
@click.option(
    "--state",
    "path",
    type=PATH,
    default=None,
    help="State directory: also hold the policy against the payments that its run's model scores.",
)
@last_run_option
@answers(CheckedPolicy, _show_checked)
def check(policy_file: Path, path: Path | None, run_id: str | None) -> CheckedPolicy:
    """Check POLICY_FILE: every entry, and that it can alert at all."""
    from bank_node.policy import read_policy
    from bank_node.policy.policy_file import check_policy

    found = read_policy(policy_file)
    if path is not None:
        contract = StateDirectory(path).current_run(run_id).contract
        check_policy(found, contract, source=f"policy {policy_file}")
    return CheckedPolicy(
        version=found.version,
        sha256=found.sha256,
        warn_only=found.warn_only,
        rules=tuple(rule.name for rule in found.rules),
        needs_probability=found.needs_probability,
    )


def _show_tried(tried: TriedPolicies) -> None:
    from rich.table import Table

    from fraudfed.payments.currencies import minor_units

    for each in tried.policies:
        whole, unit = each.parts[0], minor_units(each.currency)
        mode = ", warn-only" if each.warn_only else ""
        table = Table(
            *("payments", "number", "warn", "hold", "block", "alerts a day", "frauds found"),
            *(f"stopped, {each.currency}", f"warned, {each.currency}", "customers bothered"),
            title=f"policy {each.version!r}{mode}, {whole.days} days",
        )
        for part in each.parts:
            table.add_row(
                part.channel or "all",
                f"{part.payments:,}",
                *(f"{part.actions[name]:,}" for name in ("warn", "hold", "block")),
                f"{part.alerts_a_day:,.1f}",
                f"{part.frauds_alerted:,} of {part.frauds:,}",
                f"{part.stopped_minor / unit:,.0f} of {part.fraud_minor / unit:,.0f}",
                f"{part.warned_minor / unit:,.0f}",
                f"{part.customers_bothered:,}",
            )
        stdout_console().print(table)
        say(
            f"budget: {each.alert_budget_a_day} alerts a day; the busiest day has "
            f"{whole.busiest_day}, and {whole.days_over_budget} of {whole.days} days have more"
        )
        if whole.days_over_budget and whole.budget_threshold is not None:
            say(
                f"one threshold of {whole.budget_threshold:.4g} for all would keep within it on "
                "every day"
            )
        if whole.net_benefit is not None:
            say(f"net benefit by your costs: {whole.net_benefit:,.0f} {each.currency}")


@policy.command(
    "try",
    epilog=examples(
        "bank-node policy try new.toml --state bank-a --against policy.toml",
        "bank-node policy try new.toml --state bank-a --data payments.parquet --scores scores.csv",
    ),
)
@click.argument("policy_file", type=PATH)
@state_option
@click.option(
    "--against", type=PATH, default=None, help="A second policy to show beside it: the current one."
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=28,
    show_default=True,
    help="Try it on the decisions of so many days, in the log.",
)
@rows_option(
    "--data",
    required=False,
    help="Try it on this file of payments and its scores, and not on the log.",
)
@map_option
@click.option("--scores", type=PATH, default=None, help="What 'bank-node score' wrote for --data.")
@click.option(
    "--costs", type=PATH, default=None, help="costs.toml of this bank, for a net benefit."
)
@last_run_option
@passphrase_option
@answers(TriedPolicies, _show_tried)
def try_(
    policy_file: Path,
    path: Path,
    against: Path | None,
    days: int,
    data: "Location | None",
    mapping: "Mapping | None",
    scores: Path | None,
    costs: Path | None,
    run_id: str | None,
    passphrase_file: Path | None,
) -> TriedPolicies:
    """Say what POLICY_FILE would have done with past payments: alerts, money, customers."""
    from bank_node.data.costs_file import read_costs
    from bank_node.outcomes.trial import tried
    from bank_node.policy import read_policy

    if (data is None) != (scores is None):
        raise ConfigurationError(
            "--data and --scores belong together; give both, or neither to try it on the log"
        )
    policies = [read_policy(each) for each in (policy_file, against) if each is not None]
    state = opened(path, passphrase_file)
    money = None
    if costs is not None:
        money = read_costs(costs, state.current_run(run_id).contract)
    if data is None or scores is None:
        payments = _of_log(state, days)
    else:
        payments = _of_file(data, scores, mapping)
    return TriedPolicies(
        policies=tuple(
            TriedPolicy(
                version=each.version,
                sha256=each.sha256,
                currency=each.currency,
                warn_only=each.warn_only,
                alert_budget_a_day=each.alert_budget_a_day,
                parts=tuple(
                    TriedOn(channel=channel, **asdict(trial))
                    for channel, trial in tried(each, payments, costs=money).items()
                ),
            )
            for each in policies
        )
    )


def _of_log(state: StateDirectory, days: int) -> "list[PastPayment]":
    from bank_node.outcomes.past import past_of

    history, now = history_of(state), int(time.time()) + 1
    decisions = log_of(state).between(now - days * _DAY, now)
    return past_of(decisions, lambda transaction: history.label(transaction, now))


def _of_file(data: "Location", scores: Path, mapping: "Mapping | None") -> "list[PastPayment]":
    from bank_node.data.contract import load_transactions
    from bank_node.outcomes.label_file import read_table
    from bank_node.outcomes.past import past_of_file

    rows = load_transactions(data, mapping=mapping, analysis=("is_blocked",))
    return past_of_file(rows, read_table(scores))
