"""A run over what an earlier one was over, with other banks: what the two show side by side."""

from collections.abc import Iterator

from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun


def price_of_repeating(state: StateDirectory, run: PinnedRun) -> tuple[str, ...]:
    """Return what a run shows by its difference to earlier ones, and what that costs this bank.

    Earlier ones are those that this bank revealed sums in, with the same contract, candidates and
    counts, and another cohort; none of them has privacy terms, as sums with noise show no
    difference of single banks. Whether the rows are the same ones only the data tell: the ledger
    asks them when the run begins.

    Raises
    ------
    StateError
        If the ledger or a run cannot be read.
    """
    earlier = list(_earlier(state, run))
    if not earlier:
        return ()
    lines = []
    for other in earlier:
        fewer = sorted(set(other.cohort) - set(run.cohort))
        more = sorted(set(run.cohort) - set(other.cohort))
        change = " and ".join(
            text
            for text in (
                f"without {', '.join(fewer)}" if fewer else "",
                f"with {', '.join(more)} besides" if more else "",
            )
            if text
        )
        names = ", ".join(fewer + more)
        lines.append(
            f"It repeats run {other.run_id} {change}. Members of both read, by subtraction, "
            f"what {names} alone had entered: numbers of rows and frauds in each range of each "
            "column, of each step up to the first split that differs. The two models show what "
            "it changed."
        )
    allowed = state.config.rules.set_changes
    used = max(state.ledger().summary().keys_by_changes, default=0)
    enough = (
        "" if allowed > used else "; that is not enough, so this bank will not join over these rows"
    )
    lines.append(
        f"Over the same rows or days that costs one of set_changes: {allowed} are allowed in "
        f"bank.toml, {used} used up at most{enough}."
    )
    return tuple(lines)


def _earlier(state: StateDirectory, run: PinnedRun) -> Iterator[PinnedRun]:
    ledger = state.ledger()
    for path in sorted((state.path / "runs").glob("*/run.json")):
        other = state.pinned_run(path.parent.name)
        if other is None or other.run_id == run.run_id or other.cohort == run.cohort:
            continue
        mine, its = run.spec, other.spec
        if mine.privacy is not None or its.privacy is not None:
            continue
        same = (mine.kind, mine.contract, mine.risk, mine.statistics, mine.search) == (
            *(its.kind, its.contract, its.risk, its.statistics, its.search),
        )
        if same and ledger.knows(other.run_id):
            yield other
