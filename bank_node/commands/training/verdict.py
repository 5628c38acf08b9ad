"""What people are shown of how good a model is: a few metrics of all banks' rows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bank_node.commands.options import facts_table
from fraudfed.console import say, stdout_console

if TYPE_CHECKING:
    from bank_node.jobs.judging import Verdict
    from fraudfed.evaluation.private.report import Noised, NoisedReport
    from fraudfed.evaluation.report import PooledReport, ReadMetrics
    from fraudfed.evaluation.score_histogram import Bounded

_ONE_PER_CENT = 0.01


def show_verdict(verdict: "Verdict | None") -> None:
    """Print a table of the metrics; a line if there are none."""
    if verdict is None:
        return
    if verdict.noised is not None:
        table = facts_table(f"all banks' rows with noise, window {verdict.window}")
        for name, text in noised_facts(verdict.noised):
            table.add_row(name, text)
        stdout_console().print(table)
        say(f"judged {verdict.note}; with noise, so in place of all else (docs/metrics.md)")
        return
    if verdict.report is None:
        say(f"not judged: {verdict.note}")
        return
    table = facts_table(f"all banks' rows, window {verdict.window}")
    for name, text in verdict_facts(verdict.report):
        table.add_row(name, text)
    stdout_console().print(table)
    say(f"judged {verdict.note}; --json has everything, docs/metrics.md explains it")


def verdict_facts(report: "PooledReport") -> Iterator[tuple[str, str]]:
    """Yield names and values of what is shown."""
    known = report.known
    counts = f"{known.rows:,}, {known.frauds:,} frauds in {known.cases:,} cases"
    yield "payments", f"{counts}; {report.censored:,} blocked ones without a label"
    yield from _metrics(known, "")
    if report.first_seen is not None:
        yield "AUPRC of first-seen frauds", bounded_text(report.first_seen.auprc)
    for other in report.readings[1:]:
        yield from _metrics(other, f", {_NAMES[other.reading.value]}")


_NAMES = {
    "unblocked": "unblocked payments",
    "censored_clean": "blocked ones as clean",
    "censored_fraud": "blocked ones as fraud",
}


def _metrics(found: "ReadMetrics", of: str) -> Iterator[tuple[str, str]]:
    yield f"AUPRC{of}", bounded_text(found.auprc)
    if of:
        # One number for each way to read the labels: the rest is in the document.
        yield f"case recall{of}", bounded_text(found.at_budget.case_recall)
        return
    at = found.at_budget
    for at_rate in found.at_rates:
        if at_rate.rate == _ONE_PER_CENT:
            yield "recall at 1 % false positives", bounded_text(at_rate.recall)
    yield f"case recall with {at.alerts:,} alerts", bounded_text(at.case_recall)
    yield "precision of these alerts", bounded_text(at.precision)
    if at.saved_from_alert is not None:
        yield "money saved from the first alert on", bounded_text(at.saved_from_alert)


def noised_facts(report: "NoisedReport") -> Iterator[tuple[str, str]]:
    """Yield names and values of what is shown of a noised release."""
    off = f"each of {report.n_counts} counts is off by {report.count_noise:,.1f} (one sigma)"
    yield "payments", f"about {report.rows:,}, about {report.frauds:,} frauds; {off}"
    if report.row_cap is not None:
        yield "payments of a customer", f"at most {report.row_cap:,} were counted"
    yield "AUPRC", noised_text(report.auprc)
    yield "ROC AUC", noised_text(report.auc)
    at = report.at_budget
    yield f"recall with {at.alerts:,} alerts", noised_text(at.recall)
    yield "precision of these alerts", noised_text(at.precision)
    yield "log loss", noised_text(report.log_loss)


def noised_text(value: "Noised | None") -> str:
    """Return a value with its ends, or why there is none."""
    if value is None:
        return "too few frauds or clean payments for the noise"
    return f"{value.estimate:.4f} ({value.low:.4f} to {value.high:.4f})"


def bounded_text(value: "Bounded | None") -> str:
    """Return a value with the ends that the counts allow, where they show."""
    if value is None:
        return "none"
    text, low, high = (f"{each:.4f}" for each in (value.estimate, value.low, value.high))
    return text if low == high else f"{text} ({low} to {high})"
