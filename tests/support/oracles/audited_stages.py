"""Who took part in which steps of a run, as the aggregator's audit log says."""

import re
from collections.abc import Iterable, Sequence

from fraudfed.wire.messages import AuditEntry
from oracles.stages import Stage

_BEGUN = re.compile(r"generation (\d+) of (.+) from step (\d+) and round (\d+) on")


def stages_of(
    entries: Iterable[AuditEntry], names: Sequence[str], first: tuple[int, ...] | None = None
) -> list[Stage]:
    """Return the stages of a run that has ended well.

    Parameters
    ----------
    entries : iterable of AuditEntry
        All of the run's.
    names : sequence of str
        The cohort; a stage has places in it.
    first : tuple of int or None
        Who was there when the training started; None is everybody.
    """
    began = [(0, first if first is not None else tuple(range(len(names))))]
    for entry in entries:
        found = _BEGUN.fullmatch(entry.detail) if entry.kind == "generation-begun" else None
        if found is not None:
            members = tuple(names.index(name) for name in found[2].split(", "))
            # What was not finished by the step that is gone back to was not kept.
            began = [one for one in began if one[0] < int(found[3])]
            began.append((int(found[3]), members))
    ends = [step for step, _ in began[1:]]
    return [Stage(members, end) for (_, members), end in zip(began, [*ends, None], strict=True)]
