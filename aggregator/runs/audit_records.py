"""What the audit log says of each accepted event of a run."""

from aggregator import run_machine as machine
from aggregator.audit.log import AuditRecord, round_subject
from aggregator.caller import Caller


def audit_records(
    event: machine.Event, step: machine.Transition, caller: Caller
) -> list[AuditRecord]:
    """Return the records of an event that was accepted with ``step``: its own, then its effects'.

    An event without effects has none.
    """
    run = step.run
    whole_run = f"run/{run.run_id}"
    records = []
    if step.effects and event.recorded_as is not None:
        records.append(AuditRecord.of(caller, event.recorded_as, whole_run, event.detail(run)))
    for effect in step.effects:
        if effect.recorded_as is not None:
            subject = whole_run
            if isinstance(effect, machine.ContributionAccepted | machine.OpeningAccepted):
                subject = round_subject(run.run_id, effect.number)
            detail, sent = effect.detail(run), effect.of_body
            record = AuditRecord.of(caller, effect.recorded_as, subject, detail, of_body=sent)
            records.append(record)
    return records
