"""How this bank differs from the others of a statistics run, and what looks like a mistake.

The sums hold this bank's own part: it is taken out first, as it was entered. So the comparison is
with the other banks together, however the file has changed since. It needs no network.
"""

from typing import TYPE_CHECKING

from bank_node.config import CohortRules, check_run_id
from bank_node.state.adopted import kept_hash_key
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.console import Answer, say
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.errors import StateError
from fraudfed.reading.location import Location

if TYPE_CHECKING:
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.features.shared_risk import SharedRisk
    from fraudfed.statistics.pooled import Statistics


class DifferenceFound(Answer):
    """One way in which a file differs from the other banks of a statistics run.

    Attributes
    ----------
    kind : str
        ``scale``, ``hours``, ``days``, ``no-time-of-day``, ``writing``, ``unknown-to-others``,
        ``labels``, ``empty-column``, ``unused-category`` or ``missing-share``.
    column : str
    is_mistake : bool
        Whether it looks like a mistake of the mapping rather than another kind of bank.
    what, evidence, what_to_do : str
    """

    kind: str
    column: str
    is_mistake: bool
    what: str
    evidence: str
    what_to_do: str


class ComparedFile(Answer):
    """``check-data --against``: what looks like a mistake first."""

    run_id: str
    differences: tuple[DifferenceFound, ...]


def statistics_run(state: StateDirectory, run_id: str) -> PinnedRun:
    """Return a statistics run that this bank has finished.

    Raises
    ------
    StateError
        If the bank does not know the run, or has not finished it.
    ConfigurationError
        If it is of another kind.
    """
    run = state.pinned_run(check_run_id(run_id))
    if run is None:
        # Says which command makes it known.
        state.statistics(run_id)
        raise StateError(f"{state.path}: this bank does not know run {run_id}")
    _ = run.statistics
    state.statistics(run_id)
    return run


def read_statistics(run: PinnedRun, content: bytes) -> "Statistics":
    """Return the sums of a statistics run.

    Raises
    ------
    StateError
        If the bytes are none of this run.
    ConfigurationError
        If the run is of another kind.
    """
    # Numerics are imported by those that compare, not by every command.
    from fraudfed.statistics.layout import Layout
    from fraudfed.statistics.pooled import Statistics

    layout = Layout.of(run.contract, run.statistics, n_banks=len(run.cohort))
    return Statistics.from_bytes(content, layout=layout)


def others_of(state: StateDirectory, run: PinnedRun) -> "Statistics":
    """Return the sums of a run without this bank's part.

    Raises
    ------
    StateError
        If a file is missing, or damaged.
    KeyMaterialError
        If this bank's part does not open.
    """
    pooled = read_statistics(run, state.statistics(run.run_id))
    record = state.record(run.run_id) or {}
    # A bank that did not take part to the end has taken the sums over the others.
    if state.config.name not in record.get("members", ()):
        return pooled
    own = read_statistics(run, state.own_statistics(run.run_id))
    if own.key_id != pooled.key_id:
        raise StateError(
            f"{state.path}: this bank's part and the statistics of run {run.run_id} are of two key "
            "epochs; restore the directory from its newest backup"
        )
    return pooled.without(own)


def compare_file(
    state: StateDirectory,
    run: PinnedRun,
    path: Location,
    *,
    mapping: "Mapping | None" = None,
    shared: "SharedRisk | None" = None,
    memory_limit: int | None = None,
) -> ComparedFile:
    """Return how a file differs from what the other banks entered in a statistics run.

    Parameters
    ----------
    state : StateDirectory
        Unlocked: the hash key of identifiers is derived from the run's key package.
    run : PinnedRun
        ``statistics_run``.
    path : Path
    mapping : Mapping or None
    shared : SharedRisk or None
        For a contract that ``needs_tables``.
    memory_limit : int or None
        As for ``count_file``.

    Raises
    ------
    FraudFedError
        As ``count_file`` and ``others_of``.
    """
    hash_key = kept_hash_key(state, run.run_id)
    if hash_key is None:
        hash_key = derive_risk_key(state.key_package(run.spec.key_epoch))
    others = others_of(state, run)
    rules = state.config.rules
    return compare_with(
        others,
        run,
        path,
        rules,
        hash_key=hash_key,
        mapping=mapping,
        shared=shared,
        memory_limit=memory_limit,
    )


def compare_with(
    others: "Statistics",
    run: PinnedRun,
    path: Location,
    rules: CohortRules,
    *,
    hash_key: bytes,
    mapping: "Mapping | None" = None,
    shared: "SharedRisk | None" = None,
    memory_limit: int | None = None,
) -> ComparedFile:
    """Return how a file differs from sums of other banks.

    Parameters
    ----------
    others : Statistics
    run : PinnedRun
        Of these sums.
    path : Path
    rules : CohortRules
        This bank's own.
    hash_key : bytes of length 32
        That identifiers were hashed under.
    mapping, shared, memory_limit
        As for ``compare_file``.

    Raises
    ------
    FraudFedError
        As ``count_file``.
    """
    from bank_node.data.statistics import Thresholds, count_file
    from fraudfed.statistics.compare.everything import differences

    least = Thresholds.of(run.statistics, rules)
    own = count_file(
        path,
        run.contract,
        others.layout,
        min_customers=least.customers,
        hash_key=hash_key,
        mapping=mapping,
        shared=shared,
        memory_limit=memory_limit,
    )
    found = differences(
        own,
        others,
        is_table=run.contract.kind == "table",
        least=run.statistics.min_count,
    )
    return ComparedFile(
        run_id=run.run_id,
        differences=tuple(
            DifferenceFound(
                kind=each.kind.value,
                column=each.column,
                is_mistake=each.is_mistake,
                what=each.what,
                evidence=each.evidence,
                what_to_do=each.what_to_do,
            )
            for each in found
        ),
    )


def show_compared(compared: ComparedFile) -> None:
    """Print how a file differs, for people."""
    say(f"Against the other banks of run {compared.run_id}:")
    for each in compared.differences:
        lead = "LOOKS LIKE A MISTAKE" if each.is_mistake else "differs"
        say(
            f"* {lead}: {each.column}: {each.what}",
            f"    how sure: {each.evidence}",
            f"    what to do: {each.what_to_do}",
        )
    if not any(each.is_mistake for each in compared.differences):
        say("Nothing looks like a mistake of the mapping.")
