"""``bank-node runs``: see what a run asks of this bank, and approve it."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bank_node.approval.facts import (
    Approved,
    ListedRun,
    MonitorFacts,
    Review,
    ReviewedColumn,
    ReviewedMember,
    RiskFacts,
    RunsOpen,
    SearchFacts,
    StatisticsFacts,
    TrainingFacts,
)
from bank_node.commands.options import answers, facts_table, passphrase_option, state_option
from bank_node.consortium.connection import connect, read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import CommandsOnDemand, examples, say, stdout_console
from fraudfed.errors import ConflictError, FraudFedError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_HASH = re.compile(r"[0-9a-f]{64}")


@click.group(commands=CommandsOnDemand({"share": "bank_node.commands.serving.share:share"}))
def runs() -> None:
    """See what runs ask of this bank, approve them, and share those that are finished."""


def _text(value: object) -> "Text":
    """Return what the operator wrote as it is: no markup, and nothing that moves the cursor.

    A character that is not printable is written as its code, so that none hides or turns the rest.
    """
    from rich.text import Text

    return Text("".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value)))


def _table(*columns: str, title: str) -> "Table":
    from rich.table import Table

    table = Table(title=_text(title), title_justify="left", title_style="italic")
    for column in columns:
        # Nothing is cut short: what is not shown was not reviewed.
        table.add_column(column, overflow="fold")
    return table


def _show_list(found: RunsOpen) -> None:
    if not found.runs:
        say("no run is open to this bank")
        return
    table = _table("run", "name", "kind", "state", "approved", title="runs open to this bank")
    for run in found.runs:
        table.add_row(run.run_id, _text(run.name), run.kind, run.state, _text(_approval_of(run)))
    stdout_console().print(table)
    say("Look at one with 'bank-node runs review RUN_ID'.")


def _approval_of(run: ListedRun) -> str:
    if run.changed:
        return "refused: it was changed since it was first seen"
    if run.refused is not None:
        return f"refused: {run.refused}"
    if not run.approved_by:
        return "no"
    return " and ".join(f"by {who}" for who in _named(run.approved_by))


def _named(approved_by: tuple[str, ...]) -> list[str]:
    return [{"person": "a person", "rules": "bank.toml"}[who] for who in approved_by]


@runs.command("list", epilog=examples("bank-node runs list --state bank-a"))
@state_option
@passphrase_option
@answers(RunsOpen, _show_list)
def runs_list(path: Path, passphrase_file: Path | None) -> RunsOpen:
    """List the runs open to this bank, and whether it has approved them."""
    from bank_node.jobs.registry import JOBS
    from bank_node.run.review import list_runs

    state = StateDirectory(path)
    with connect(state, read_passphrase(passphrase_file)) as connection:
        return list_runs(state, connection.client, JOBS)


def _show_review(review: Review) -> None:
    console = stdout_console()
    console.print(_head(review))
    about = review.facts.about
    for part in _tables(about):
        console.print(part)
    console.print(_text("What it reveals:"))
    for line in review.facts.reveals or ("not known: the parameters are refused",):
        console.print(_text(f"  * {line}"))
    for line in review.price:
        console.print(_text(f"  * {line}"))
    rules = _table("what it asks for", "allowed", "why", title="[approval] of bank.toml")
    for each in review.findings:
        rules.add_row(_text(each.subject), "yes" if each.allowed else "NO", _text(each.reason))
    console.print(rules)
    for line in _verdict(review):
        console.print(_text(line), soft_wrap=True)


def _tables(
    about: TrainingFacts | RiskFacts | StatisticsFacts | SearchFacts | MonitorFacts,
) -> list["Table"]:
    if isinstance(about, TrainingFacts):
        return _training_tables(about)
    if isinstance(about, RiskFacts):
        return [_risk_table(about)]
    if isinstance(about, SearchFacts):
        return _search_tables(about)
    if isinstance(about, MonitorFacts):
        return _monitor_tables(about)
    return _statistics_tables(about)


def _head(review: Review) -> "Table":
    table = facts_table("")
    rows: list[tuple[str, Any]] = [
        ("run", review.run_id),
        ("name", review.name),
        ("kind", review.facts.about.kind),
        ("state", review.state),
        ("banks", "; ".join(_member(member) for member in review.cohort)),
        ("left out", ", ".join(review.without) or "no member"),
        ("fewest banks", f"continues with {min(review.min_cohort, len(review.cohort))}"),
        ("confirmed roster", "required" if review.require_confirmed_roster else "not required"),
        ("who may read the result", review.model_visibility),
        ("key", f"epoch {review.key_epoch}, {review.key_bits} bits, {review.key_fingerprint}"),
        ("deadline", f"{review.deadline_seconds} s; {_join_deadline(review)}"),
        ("rejoins", f"up to {review.max_rejoins} of a dropped bank"),
        ("cost at this bank", _cost(review)),
    ]
    for name, value in rows:
        table.add_row(name, _text(value))
    return table


def _member(member: ReviewedMember) -> str:
    if member.self:
        return f"{member.name} (this bank)"
    return f"{member.name} ({'confirmed' if member.confirmed else 'NOT confirmed'})"


def _join_deadline(review: Review) -> str:
    if review.join_deadline_seconds is None:
        return "begins with all banks"
    return f"begins without banks that are not there after {review.join_deadline_seconds} s"


def _cost(review: Review) -> str:
    cost = review.facts.cost
    if cost is None:
        return "not known: the parameters are refused"
    return (
        f"estimate, at most: {cost.rounds:,} rounds, {cost.ciphertexts:,} ciphertexts, "
        f"{cost.bytes / 1e6:,.1f} MB sent; for up to {cost.assumed_rows:,} "
        f"{'payments a day' if review.facts.about.kind == 'risk' else 'rows'} at all banks together"
    )


def _training_tables(about: TrainingFacts) -> list["Table"]:
    data = facts_table("")
    rows = [
        ("data", about.data if about.recipe is None else f"{about.data}, recipe {about.recipe}"),
        ("trains on", f"from {_time(about.train_from)} until {_time(about.train_until)}"),
        ("largest weight", f"{about.max_weight:g}"),
        ("risk tables", ", ".join(about.shared_risk) or "none"),
        ("validation", about.validation),
    ]
    if about.recipe is not None:
        rows[2:2] = [
            ("selects by", _window(about.select_until)),
            ("judges by", _window(about.judge_until)),
            ("judged by", _alerts(about.alerts_per_day)),
            ("label horizon", f"{about.label_horizon} before each of these times"),
            ("gap between windows", f"{about.gap_days} days"),
            (
                "known compromised",
                "left out of what selects and judges"
                if about.exclude_known_compromised
                else "not left out",
            ),
            (
                "reports of fraud",
                f"count {about.risk_delay_days} days after the payment at the earliest, in risk "
                f"tables from {about.risk_publication_lag_days} days after the day's end on",
            ),
        ]
        rows.append(("payments", about.population or "all that the recipe judges"))
        rows.append(("currency", about.currency or "amounts are compared as they stand"))
    rows += _privacy_rows(about)
    for name, value in rows:
        data.add_row(name, _text(value))
    parameters = _table("parameter", "value", "", title="parameters")
    for one in about.parameters or ():
        parameters.add_row(_text(one.name), _text(one.value), "" if one.given else "default")
    return [data, _columns_table(about.columns, about.recipe), parameters]


def _privacy_rows(about: TrainingFacts) -> list[tuple[str, str]]:
    privacy = about.privacy
    if privacy is None:
        return [("privacy", "no terms: sums over all banks are opened exactly")]
    return [
        ("privacy", f"epsilon {privacy.epsilon:g} at delta {privacy.delta:g}"),
        ("of whom", privacy.hides),
        ("not covered", "; ".join(privacy.not_covered)),
        ("history", privacy.history),
        ("way", privacy.way),
        ("edges of bins", privacy.cuts),
        ("noise without", f"{privacy.tolerated_colluders} banks that may collude"),
        ("declared rows", f"at most {privacy.declared_rows:,} of all banks"),
    ]


def _alerts(alerts_per_day: int | None) -> str:
    if alerts_per_day is None:
        return "what alerts on one payment in 200 find"
    return f"what {alerts_per_day:,} alerts of all banks a day find"


def _search_tables(about: SearchFacts) -> list["Table"]:
    candidates = _table("candidate", "parameters of its own", title="candidates")
    for one in about.candidates:
        given = [f"{name}={value}" for name, value in one.parameters.items()]
        if one.min_child_share is not None:
            given.append(f"min_child_weight={one.min_child_share:g} of the frauds, at least 1")
        candidates.add_row(_text(one.name), _text(", ".join(given) or "none"))
    halving = facts_table("")
    rungs = ", ".join(f"{rung.alive} to {rung.trees} trees" for rung in about.rungs)
    for name, value in (
        ("grown", f"{rungs}; {about.trees:,} trees in all, at most"),
        ("compared by", about.select_by),
        ("patience", "none" if about.patience is None else f"{about.patience} trees"),
        ("first rung", "keeps the best of each share" if about.keep_each_share else "by metric"),
    ):
        halving.add_row(name, _text(value))
    return [*_training_tables(about.shared), candidates, halving]


def _window(until: int | None) -> str:
    return "no payments" if until is None else f"payments after that, until {_time(until)}"


def _columns_table(reviewed: tuple[ReviewedColumn, ...], recipe: str | None) -> "Table":
    columns = _table("column", "role", "type", "missing", "what", title="columns")
    for each in reviewed:
        categories = "" if each.categories is None else f": {', '.join(map(repr, each.categories))}"
        columns.add_row(
            _text(each.name),
            "own column" if recipe is not None and each.unit is not None else each.role,
            _text(f"{each.type}{categories}"),
            "allowed" if each.nullable else "no",
            _text(each.description if each.unit is None else f"{each.description} [{each.unit}]"),
        )
    return columns


def _monitor_tables(about: MonitorFacts) -> list["Table"]:
    data = facts_table("")
    rows = [
        ("model", f"of run {about.model_run}, {about.model_sha256}"),
        ("weeks", f"{about.weeks} from {_time(about.weeks_from)} until {_time(about.until)}"),
        ("reference", f"the first {about.reference_weeks}, until {_time(about.reference_until)}"),
        ("alerts", f"scores of {about.alert_score:g} or more"),
        ("smallest count", f"{about.min_count}: smaller ones are entered as 0"),
    ]
    for name, value in rows:
        data.add_row(name, _text(value))
    return [data, _columns_table(about.columns, about.recipe)]


def _statistics_tables(about: StatisticsFacts) -> list["Table"]:
    data = facts_table("")
    rows = [
        ("data", about.data if about.recipe is None else f"{about.data}, recipe {about.recipe}"),
        ("period", f"from {_time(about.train_from)} until {_time(about.train_until)}"),
        ("smallest count", f"{about.min_count}: smaller ones are entered as 0"),
        ("identifiers compared", ", ".join(about.entities) or "none"),
        ("least customers", str(about.min_customers)),
        ("cells of identifiers", f"{about.width:,}"),
        ("counted", ", ".join(about.counted)),
    ]
    for name, value in rows:
        data.add_row(name, _text(value))
    return [data, _columns_table(about.columns, about.recipe)]


def _time(seconds: int | None) -> str:
    if seconds is None:
        return "any time"
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"


def _risk_table(about: RiskFacts) -> "Table":
    table = facts_table("")
    rows = [
        ("days", f"{about.first_day} to {about.last_day}, {about.n_days} days"),
        ("delay", f"{about.delay_days} days"),
        ("counts by", ", ".join(about.entities)),
        ("least customers", str(about.min_customers)),
        (
            "sketches",
            f"{about.depth} x {about.transaction_width} payments, "
            f"{about.depth} x {about.fraud_width} frauds",
        ),
        ("days in one step", str(about.days_per_step)),
    ]
    if about.privacy is not None:
        of = about.privacy
        text = (
            f"epsilon {of.epsilon:g}, delta {of.delta:g} for a customer and month; one count of a "
            f"day is off by {of.payment_noise:,.1f} payments, {of.fraud_noise:,.1f} reports; "
            f"without the noise of {of.tolerated_colluders} banks"
        )
        rows.append(("noise", text))
    for name, value in rows:
        table.add_row(name, _text(value))
    return table


def _verdict(review: Review) -> list[str]:
    lines = []
    if review.changed:
        lines.append(f"CHANGED since this bank first saw the run: {', '.join(review.changed)}")
    if review.refused is not None:
        lines.append(f"This bank takes no part in such a run: {review.refused}")
    if review.approved_by:
        lines.append(f"Approved by {' and by '.join(_named(review.approved_by))}.")
    else:
        lines.append("Not approved: this bank does not join.")
    if not review.changed:
        lines += [f"hash {review.hash}", f"Approve it with 'bank-node runs approve {review.hash}'."]
    return lines


def _changed(review: Review) -> FraudFedError | None:
    if not review.changed:
        return None
    return ConflictError(
        f"run {review.run_id}: the aggregator changed {', '.join(review.changed)} since this bank "
        "first saw the run",
        what_to_do="ask the operator for a new run; this one cannot be approved",
    )


@runs.command("review", epilog=examples("bank-node runs review --state bank-a RUN_ID"))
@click.argument("run_id")
@state_option
@passphrase_option
@answers(Review, _show_review, fails=_changed)
def runs_review(run_id: str, path: Path, passphrase_file: Path | None) -> Review:
    """Show all that a run asks of this bank, what it reveals, and the hash that approves it."""
    from bank_node.jobs.registry import JOBS
    from bank_node.run.review import review_run

    state = StateDirectory(path)
    with connect(state, read_passphrase(passphrase_file)) as connection:
        return review_run(state, connection.client, run_id, JOBS)


def _show_approved(answer: Approved) -> None:
    if answer.approved:
        say(f"run {answer.run_id}: approved, as it was reviewed ({answer.hash})")
    elif answer.by_rules:
        say(
            f"run {answer.run_id}: the approval is revoked, but [approval] of bank.toml approves "
            "the run as well: change the table, too"
        )
    else:
        say(f"run {answer.run_id}: the approval is revoked; this bank does not start in it")


@runs.command(
    "approve",
    epilog=examples("bank-node runs approve --state bank-a HASH"),
)
@click.argument("hash_", metavar="HASH")
@state_option
@click.option("--revoke", is_flag=True, help="Take an approval back, for every later start.")
@answers(Approved, _show_approved)
def runs_approve(hash_: str, path: Path, revoke: bool) -> Approved:
    """Record that a person approves a run as 'runs review' showed it; needs no network."""
    from bank_node.approval import decision
    from bank_node.jobs.registry import JOBS

    if not _HASH.fullmatch(hash_):
        raise click.BadParameter(
            f"{hash_!r} is no hash; copy the 64 digits that 'bank-node runs review' shows",
            param_hint="HASH",
        )
    state = StateDirectory(path)
    entry = (decision.revoke if revoke else decision.approve)(state, hash_)
    run = state.current_run(entry.run_id)
    try:
        findings = JOBS[run.spec.kind].weigh(run, state.config.approval)
    except FraudFedError:
        findings = ()
    found = decision.decide(state, run, findings)
    return Approved(
        run_id=entry.run_id, hash=hash_, approved=found.by_person, by_rules=found.by_rules
    )
