"""``bank-node explain``: why a payment has its score."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bank_node.commands.deciding.common import log_of, opened, time_text
from bank_node.commands.options import (
    PATH,
    answers,
    last_run_option,
    map_option,
    passphrase_option,
    rows_option,
    state_option,
)
from bank_node.commands.output import (
    Explained,
    ExplainedDecision,
    ExplainedLowering,
    ExplainedReason,
    ExplainedScore,
    Reader,
)
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say
from fraudfed.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from bank_node.decisions.decision import Decision
    from bank_node.serving.explain import Explanation
    from bank_node.serving.scorer import Scorer
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location
    from fraudfed.reasons import Reason

_DECISIONS: Final = "decisions"


def _show(explained: Explained) -> None:
    if explained.decision is not None:
        made = explained.decision
        when = time_text(made.decided_at)
        say(
            f"{explained.transaction_id}: {made.action}, {when}, rule {made.rule}, step {made.step}"
        )
    if explained.score is not None:
        scored = explained.score
        likely = "" if scored.probability is None else f", probability {scored.probability:.4f}"
        say(f"{explained.transaction_id}: score {scored.score:.4f}{likely}")
    for reason in explained.reasons:
        if reason.title is None or reason.contribution is None or reason.share is None:
            say(reason.text)
        else:
            say(f"  {reason.contribution:+.2f} {reason.share:4.0%}  {reason.title}: {reason.text}")
    if explained.score is not None and explained.score.lowered:
        lowered = (f"{part.title} ({part.contribution:+.2f})" for part in explained.score.lowered)
        say(f"lowered by: {'; '.join(lowered)}")
    if explained.note:
        say(explained.note)


@click.command(
    epilog=examples(
        "bank-node explain t-4711 --state bank-a",
        "bank-node explain t-4711 --state bank-a --for customer",
        "bank-node explain t-4711 --state bank-a --data payments.parquet",
    )
)
@click.argument("transaction")
@state_option
@rows_option(
    "--data",
    required=False,
    help="File that holds the transaction, for one that is not in the log of decisions.",
)
@map_option
@click.option(
    "--for",
    "reader",
    type=click.Choice([reader.value for reader in Reader]),
    default=Reader.ANALYST.value,
    show_default=True,
    help="For whom: only an analyst sees values, scores and what was decided.",
)
@click.option(
    "--model",
    type=PATH,
    default=None,
    help="Model file.  [default: the decision's, or the run's accepted model]",
)
@last_run_option
@passphrase_option
@answers(Explained, _show)
def explain(
    transaction: str,
    path: Path,
    data: "Location | None",
    mapping: "Mapping | None",
    reader: str,
    model: Path | None,
    run_id: str | None,
    passphrase_file: Path | None,
) -> Explained:
    """Say why a payment has its score: a past decision, or a row of a file. Needs no network."""
    # xgboost takes a second to import, which no other command needs.
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.explain import explain_decision, explain_row
    from bank_node.serving.scorer import Scorer

    state = opened(path, passphrase_file)
    decision = _find(state, transaction)
    if decision is not None:
        if decision.model_sha256 is None or not decision.bins:
            return _answer(transaction, Reader(reader), decision, None)
        scorer = _scorer_of(state, decision.model_sha256, model, run_id)
        found = explain_decision(decision, scorer)
        return _answer(transaction, Reader(reader), decision, found, scorer=scorer)
    if data is None:
        raise NotFoundError(
            f"{state.path}: transaction {transaction!r} is not in the log of decisions; check the "
            "identifier, or name a file that holds the payment with --data"
        )
    run = state.current_run(run_id)
    scorer = Scorer.read(state.model_path(run.run_id) if model is None else model, run.contract)
    shared = scoring_tables(state, run.contract)
    found = explain_row(data, transaction, scorer, mapping=mapping, shared=shared)
    return _answer(transaction, Reader(reader), None, found, scorer=scorer)


def _find(state: StateDirectory, transaction: str) -> "Decision | None":
    if not (state.serving_path / _DECISIONS).is_dir():
        return None
    log = log_of(state)
    try:
        return log.find(transaction)
    finally:
        log.close()


def _scorer_of(
    state: StateDirectory, sha256: str, model: Path | None, run_id: str | None
) -> "Scorer":
    """Return the model of a decision: the file that was named, or the bank's of that digest."""
    from bank_node.lifecycle.past_models import past_scorer
    from bank_node.serving.scorer import Scorer

    if model is not None:
        return Scorer.read(model, state.current_run(run_id).contract)
    found = past_scorer(state, sha256)
    if found is not None:
        return found
    raise ConfigurationError(
        f"{state.path}: model {sha256} of the decision is not among this bank's models; name its "
        "file with --model, and its run with --run"
    )


def _answer(
    transaction: str,
    reader: Reader,
    decision: "Decision | None",
    found: "Explanation | None",
    *,
    scorer: "Scorer | None" = None,
) -> Explained:
    notes = []
    if found is None:
        notes.append("no model scored this payment, so there are no reasons of one")
    elif not found.reasons:
        notes.append("nothing about this payment raised its score")
    if found is not None and not found.same_words:
        notes.append("the words are this release's: the catalogue has changed since")
    if found is not None and not found.has_values:
        notes.append(
            "no reasons were asked for at the time: values are the ends of the model's bins, at or "
            "below the true ones"
        )
    if reader is not Reader.ANALYST:
        texts = [] if found is None else [getattr(r, reader.value) for r in found.reasons]
        reasons = tuple(ExplainedReason(text=text) for text in dict.fromkeys(texts) if text)
        if not reasons and found is not None and found.reasons:
            notes.append(f"no text for a {reader.value} belongs to the reasons of this payment")
        return Explained(
            transaction_id=transaction,
            reader=reader,
            from_log=decision is not None,
            reasons=reasons,
            note="; ".join(notes),
        )
    return Explained(
        transaction_id=transaction,
        reader=reader,
        from_log=decision is not None,
        reasons=() if found is None else tuple(map(_reason, found.reasons)),
        score=None if found is None or scorer is None else _score(found, scorer.sha256),
        decision=None if decision is None else _decision(decision),
        note="; ".join(notes),
    )


def _reason(reason: "Reason") -> ExplainedReason:
    return ExplainedReason(
        text=reason.analyst,
        code=reason.code,
        title=reason.title,
        contribution=reason.contribution,
        share=reason.share,
    )


def _score(found: "Explanation", model_sha256: str) -> ExplainedScore:
    return ExplainedScore(
        margin=found.margin,
        base=found.base,
        score=found.score,
        probability=found.probability,
        model_sha256=model_sha256,
        lowered=tuple(ExplainedLowering(title=t, contribution=c) for t, c in found.lowered),
    )


def _decision(decision: "Decision") -> ExplainedDecision:
    return ExplainedDecision(
        decided_at=decision.decided_at,
        action=decision.action,
        rule=decision.rule,
        step=decision.step,
        policy_sha256=decision.policy_sha256,
        tables_sha256=decision.tables_sha256,
    )
