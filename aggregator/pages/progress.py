"""What a run does now, in words: which bank is waited for, since when, and what comes then."""

import re
import time
from dataclasses import dataclass
from typing import Any

from fraudfed.http.pages.words import duration
from fraudfed.wire.messages import RoundSummary, RunKind, RunState, RunStatus

_TREE = re.compile(r"\btree (\d+)\b")
#: XGBoost's own, where a run does not say.
_DEFAULT_TREES = 100
#: What a bank is waited for to do, and what the run is then.
_DOES = {
    "join": "to join the run",
    "ready": "to agree to go on",
    "contribution": "to send its numbers for round {round}",
    "opening": "to open its share of round {round}",
    "model": "to send the finished result",
}
_STATES = {
    RunState.OPEN: ("open", "wait"),
    RunState.TRAINING: ("at work", "good"),
    RunState.GATHERING: ("gathering banks", "wait"),
    RunState.FINISHED: ("finished", "good"),
    RunState.FAILED: ("failed", "bad"),
}
#: Sums that a run begins with, and those that follow, in words.
_SUMS = {
    "rows": "counting rows",
    "histogram": "sums of a tree",
    "select": "comparing candidates",
    "statistics": "counting statistics",
}


@dataclass(frozen=True)
class BankNow:
    """A bank in a run: its name, what it is doing in words, and how that is marked."""

    name: str
    doing: str
    mark: str


@dataclass(frozen=True)
class Progress:
    """Where a run stands at the moment, as its page shows it.

    Attributes
    ----------
    state, mark : str
    awaited : tuple of str
        Banks that others wait for; empty if none does.
    to_do : str
        What these have to do.
    since : int or None
        UTC epoch seconds from which on they are waited for.
    then : str
        What happens if they stay away.
    doing : str
        What is done now, in words.
    tree, trees : int or None
        Number of the tree that grows, from 1, and how many there are to be at most.
    banks : tuple of BankNow
    """

    state: str
    mark: str
    awaited: tuple[str, ...]
    to_do: str
    since: int | None
    then: str
    doing: str
    tree: int | None
    trees: int | None
    banks: tuple[BankNow, ...]


def state_words(state: RunState) -> tuple[str, str]:
    """Return a state in words, and how it is marked."""
    return _STATES[state]


def progress_of(
    status: RunStatus, last: RoundSummary | None, before: RoundSummary | None
) -> Progress:
    """Return what a run does now.

    Parameters
    ----------
    status : RunStatus
    last : RoundSummary or None
        The open round; None if none is.
    before : RoundSummary or None
        The round before it.
    """
    awaited, to_do = _awaited(status)
    name, mark = _STATES[status.state]
    current = last or before
    tree = _tree(current.label) if current is not None else None
    return Progress(
        state=name,
        mark="wait" if awaited and status.state is RunState.TRAINING else mark,
        awaited=awaited,
        to_do=to_do,
        since=_since(status, last, before) if awaited else None,
        then=_then(status) if awaited else "",
        doing=_doing(status, last, awaited),
        tree=None if tree is None else tree + 1,
        trees=_trees(status),
        banks=tuple(_bank(name, status, awaited) for name in status.cohort),
    )


def _awaited(status: RunStatus) -> tuple[tuple[str, ...], str]:
    if status.waits_for is not None:
        waits = status.waits_for
        return waits.banks, _DOES[waits.what].format(round=status.round_number)
    if status.state is RunState.OPEN:
        # No bank is there yet that could wait; an operator waits for all of them.
        missing = tuple(bank for bank in status.cohort if bank not in status.members)
        return missing, _DOES["join"]
    return (), ""


def _since(status: RunStatus, last: RoundSummary | None, before: RoundSummary | None) -> int | None:
    if status.state is RunState.OPEN:
        return status.created_at
    if last is not None and last.abandoned_at is None:
        return last.completed_at or last.opened_at
    times = [
        moment
        for one in (last, before)
        if one is not None
        for moment in (one.abandoned_at, one.closed_at)
        if moment is not None
    ]
    return max(times, default=None)


def _then(status: RunStatus) -> str:
    spec = status.spec
    if status.state is RunState.OPEN:
        if spec.join_deadline_seconds is None:
            return "The run begins when all banks have joined; there is no deadline for that."
        return (
            f"After {duration(spec.join_deadline_seconds)} the run begins without them, if at "
            f"least {spec.min_cohort} banks are there."
        )
    left = len(status.generation.banks) - len(status.waits_for.banks if status.waits_for else ())
    if left < min(spec.min_cohort, len(status.cohort)):
        return (
            f"Without them {left} banks would be left, fewer than the run's least "
            f"({spec.min_cohort}): after {duration(spec.deadline_seconds)} it fails."
        )
    return f"After {duration(spec.deadline_seconds)} the run goes on without them."


def _doing(status: RunStatus, last: RoundSummary | None, awaited: tuple[str, ...]) -> str:
    match status.state:
        case RunState.FINISHED:
            return "All banks ended with the same result."
        case RunState.FAILED:
            return "The run was ended without a result."
        case RunState.OPEN | RunState.GATHERING:
            return ""
    if last is None:
        return "" if awaited else "The banks compute what they send next."
    what = _SUMS.get(last.label.partition(":")[0], "a sum")
    return f"Round {last.number}: {what}."


def _tree(label: str) -> int | None:
    found = _TREE.search(label)
    return None if found is None else int(found[1])


def _trees(status: RunStatus) -> int | None:
    if status.spec.search is not None:
        return status.spec.search.rungs[-1].trees
    if status.spec.kind is not RunKind.TRAINING:
        return None
    given: Any = status.spec.parameters.get("num_boost_round", _DEFAULT_TREES)
    return given if isinstance(given, int) and given > 0 else None


def _bank(name: str, status: RunStatus, awaited: tuple[str, ...]) -> BankNow:
    if name in awaited:
        return BankNow(name, "waited for", "wait")
    if status.state in (RunState.FINISHED, RunState.FAILED):
        took_part = name in status.generation.banks and name in status.members
        return BankNow(name, "took part" if took_part else "did not take part", "")
    if name not in status.members:
        return BankNow(name, "has not joined", "")
    if name in status.waiting:
        return BankNow(name, "comes in at the next step", "")
    if name not in status.generation.banks:
        return BankNow(name, "was dropped", "bad")
    if name in status.contributed:
        return BankNow(name, "has sent its numbers", "good")
    return BankNow(name, "has joined" if status.state is RunState.OPEN else "takes part", "good")


def elapsed(since: int | None) -> str:
    """Return how long something has lasted; empty if that is not known."""
    return "" if since is None else duration(time.time() - since)
