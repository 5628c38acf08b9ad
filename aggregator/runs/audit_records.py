"""What the audit log says of each accepted event of a run."""

from aggregator import run_machine as machine
from aggregator.audit.log import AuditRecord, round_subject
from aggregator.caller import Caller


def audit_records(
    event: machine.Event, step: machine.Transition, caller: Caller
) -> list[AuditRecord]:
    """Return the records of an event that was accepted with ``step``, in the order of effects."""
    run = step.run
    whole_run = f"run/{run.run_id}"

    def record(kind: str, subject: str, detail: str, *, of_body: bool = True) -> AuditRecord:
        return AuditRecord(
            kind=kind,
            actor=caller.actor,
            subject=subject,
            detail=detail,
            body_sha256=caller.body_sha256 if of_body else None,
        )

    records = []
    match event:
        case _ if not step.effects:
            pass
        case machine.Join():
            detail = f"{len(run.members)} of {len(run.cohort)} banks have joined"
            records.append(record("join", whole_run, detail))
        case machine.BecomeReady(generation, readiness):
            detail = f"generation {generation}, step {readiness.step}"
            records.append(record("ready", whole_run, detail))
        case machine.Drop(bank):
            records.append(record("drop", whole_run, bank))
        case _:
            pass
    for effect in step.effects:
        match effect, event:
            case machine.GenerationFormed(reason=reason), _:
                detail = f"generation {run.generation} of {', '.join(run.banks)}: {reason}"
                records.append(record("generation", whole_run, detail, of_body=False))
            case machine.GenerationBegun(), _:
                detail = (
                    f"generation {run.generation} of {', '.join(run.banks)} from step "
                    f"{run.first_step} and round {run.first_round} on"
                )
                records.append(record("generation-begun", whole_run, detail, of_body=False))
            case machine.ContributionAccepted(number=number), machine.Contribute(terms=terms):
                subject = round_subject(run.run_id, number)
                records.append(record("contribution", subject, _shown(terms)))
            case machine.OpeningAccepted(number=number, shard=shard), machine.Open(terms=terms):
                subject = round_subject(run.run_id, number)
                records.append(record("opening", subject, f"{_shown(terms)}, shard {shard}"))
            case machine.VoteAccepted(model=model), _:
                records.append(record("model", whole_run, f"plain model {model.plain}"))
            case machine.ModelAccepted(model=model), _:
                detail = f"model {model.stored} of all {run.size} banks"
                records.append(record("run-finished", whole_run, detail, of_body=False))
            case machine.RunFailed(reason), machine.Abort():
                records.append(record("abort", whole_run, reason))
            case machine.RunFailed(reason), _:
                # The body that showed the contradiction has an entry of its own, as refused.
                records.append(record("run-failed", whole_run, reason, of_body=False))
            case _:
                pass  # follows from the others
    return records


def _shown(terms: machine.Terms) -> str:
    return f"label {terms.label!r}, context {terms.context}, {terms.count} items"
