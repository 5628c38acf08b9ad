"""``bank-node risk lookup`` and ``risk lookups``: what all banks entered of an identifier."""

import getpass
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.options import (
    PATH,
    answers,
    map_option,
    passphrase_option,
    rows_option,
    state_option,
)
from bank_node.commands.risk.output import (
    CountInterval,
    DayGap,
    LookedUp,
    LookupEntries,
    LookupEntry,
    LookUps,
    RiskWindow,
)
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say, stdout_console
from fraudfed.errors import ConfigurationError
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import RiskEntity

if TYPE_CHECKING:
    from bank_node.lookup.tables import Found
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.features.shared_risk.look_up import Interval
    from fraudfed.reading.location import Location


def _show(looked_up: LookUps) -> None:
    from rich.table import Table

    if looked_up.out is not None:
        say(f"{looked_up.out}: {looked_up.rows} identifiers")
    for found in looked_up.found:
        banks = "an unknown number of" if found.banks is None else f"at least {found.banks}"
        say(
            f"{found.entity} {found.identifier}: as of {found.as_of}, {found.age_days} days ago; "
            f"entered by {banks} banks"
        )
        table = Table("days", "payments", "frauds", "days without a table")
        for window in found.windows:
            table.add_row(
                str(window.days),
                _text(window.payments, found.confidence),
                _text(window.frauds, found.confidence),
                ", ".join(
                    gap.first_day
                    if gap.first_day == gap.last_day
                    else f"{gap.first_day}..{gap.last_day}"
                    for gap in window.missing
                )
                or "none",
            )
        stdout_console().print(table)


def _text(found: CountInterval, confidence: float) -> str:
    if not found.known:
        return f"not known (at most {found.upper:,})"
    if found.lower == found.upper:
        return f"{found.upper:,} ({confidence:.0%})"
    return f"{found.lower:,} to {found.upper:,} ({confidence:.0%})"


@click.command(
    "lookup",
    epilog=examples(
        "bank-node risk lookup payee GB29NWBK60161331926819 --state bank-a --purpose 'case 4711'",
        "bank-node risk lookup payee --data new.csv --out risk.csv --state bank-a --purpose review",
    ),
)
@click.argument("entity", type=click.Choice([entity.value for entity in RiskEntity]))
@click.argument("identifier", required=False)
@state_option
@rows_option(
    "--data",
    required=False,
    help="File with a column ENTITY_id in place of IDENTIFIER, .csv or .parquet.",
)
@map_option
@click.option("--out", type=PATH, default=None, help="File to write for --data, .csv or .parquet.")
@click.option("--purpose", required=True, help="What for; stands in the log of look-ups.")
@click.option(
    "--who", default=None, help="Who asks; stands in the log.  [default: the user of the system]"
)
@passphrase_option
@answers(LookUps, _show)
def lookup(
    entity: str,
    identifier: str | None,
    path: Path,
    data: "Location | None",
    mapping: "Mapping | None",
    out: Path | None,
    purpose: str,
    who: str | None,
    passphrase_file: Path | None,
) -> LookUps:
    """Show what all banks entered of one payee, merchant or terminal; needs no network.

    Every look-up is logged at this bank.
    """
    from bank_node.lookup.bulk import read_identifiers, write_found
    from bank_node.lookup.look_up import look_up, open_log, open_tables
    from bank_node.serving.table_file import check_output
    from fraudfed.features.identifiers import DEFAULT_KINDS

    if (identifier is None) == (data is None) or (data is None) != (out is None):
        raise ConfigurationError(
            "risk lookup: expected an IDENTIFIER, or --data with --out; give one of these"
        )
    if out is not None:
        check_output(out)
    kind = RiskEntity(entity)
    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    kinds = DEFAULT_KINDS if mapping is None else mapping.identifier_kinds
    tables = open_tables(state, kinds=kinds)
    asked = [] if identifier is None else [identifier]
    if data is not None:
        try:
            asked = read_identifiers(data, tables, kind, mapping=mapping)
        except ProblemsError as error:
            say(*_lines(error), err=True)
            raise
    found = look_up(
        tables,
        open_log(state),
        kind,
        asked,
        who=getpass.getuser() if who is None else who,
        purpose=purpose,
        durable=True,
    )
    if out is None:
        return LookUps(found=tuple(map(_answer, found)), out=None, rows=len(found))
    write_found(found, asked, out)
    return LookUps(found=(), out=str(out), rows=len(found))


def _lines(error: ProblemsError) -> list[str]:
    """Return a line for each row that was refused, as far as they are told one by one."""
    lines = []
    for problem in error.problems:
        lines += [f"{c.place}: got {c.got}, expected {problem.expected}" for c in problem.cells]
        if problem.count > len(problem.cells):
            lines.append(f"and {problem.count - len(problem.cells)} more rows like these")
    return lines


def _answer(found: "Found") -> LookedUp:
    from bank_node.data.risk_days import day_text

    return LookedUp(
        entity=found.entity.value,
        identifier=found.identifier,
        as_of=day_text(found.as_of),
        age_days=found.age_days,
        delay_days=found.delay_days,
        banks=found.banks,
        confidence=found.confidence,
        windows=tuple(
            RiskWindow(
                days=window.days,
                missing=tuple(
                    DayGap(first_day=day_text(first), last_day=day_text(last))
                    for first, last in window.missing
                ),
                payments=_interval(window.payments),
                frauds=_interval(window.frauds),
            )
            for window in found.windows
        ),
    )


def _interval(found: "Interval") -> CountInterval:
    return CountInterval(
        count=found.count, lower=found.lower, upper=found.upper, known=found.is_known
    )


def _show_lookups(logged: LookupEntries) -> None:
    from rich.table import Table

    if not logged.lookups:
        say("nothing was looked up")
        return
    table = Table("time (UTC)", "who", "purpose", "what")
    for each in logged.lookups:
        more = f" and {len(each.identifiers) - 3} more" if len(each.identifiers) > 3 else ""
        table.add_row(
            datetime.fromtimestamp(each.time, tz=UTC).strftime("%Y-%m-%d %H:%M:%S"),
            each.who,
            each.purpose,
            f"{each.entity} {', '.join(each.identifiers[:3])}{more}",
        )
    stdout_console().print(table)


@click.command("lookups")
@state_option
@passphrase_option
@answers(LookupEntries, _show_lookups)
def lookups(path: Path, passphrase_file: Path | None) -> LookupEntries:
    """Show every look-up of this bank: when, by whom, for what."""
    from bank_node.lookup.look_up import open_log

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    log = open_log(state)
    log.prune(time.time())
    return LookupEntries(
        lookups=tuple(
            LookupEntry(
                time=each.time,
                who=each.who,
                purpose=each.purpose,
                entity=each.entity.value,
                identifiers=each.identifiers,
            )
            for each in log.all()
        )
    )
