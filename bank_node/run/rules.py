"""What this bank agrees to before it contributes, whatever the aggregator says."""

import hashlib
import json
from collections.abc import Iterable

from bank_node.config import CohortRules
from bank_node.data.contract import check_contract, feature_schema
from bank_node.data.risk_days import day_text
from bank_node.state.directory import PinnedRun, StateDirectory
from fraudfed.boosting.params import BoosterParams
from fraudfed.consortium.public.documents import key_epoch_digest
from fraudfed.errors import (
    CohortError,
    ConfigurationError,
    ConflictError,
    KeyMaterialError,
    ParameterError,
    ProtocolError,
)
from fraudfed.wire.messages import Generation, KeyEpoch, RiskSpec, RunKind, RunStatus


def check_run(run: PinnedRun, rules: CohortRules) -> BoosterParams:
    """Accept the description of a training and return its checked parameters.

    Raises
    ------
    CohortError
        If the cohort is smaller than this bank allows.
    ParameterError, ConfigurationError
        If a parameter, the model's visibility or the data contract is not what this bank allows,
        or cannot be met.
    """
    contract = run.contract
    _check_cohort(run, rules)
    check_contract(contract)
    params = BoosterParams.parse(run.spec.parameters)
    params.resolve_monotone_constraints(feature_schema(contract))
    _check_parameters(params, rules, run=run.spec.name)
    return params


def check_risk_run(
    run: PinnedRun, rules: CohortRules, *, before: Iterable[PinnedRun] = ()
) -> RiskSpec:
    """Accept the description of a risk run and return what this bank counts in it.

    That is the run's own ``RiskSpec`` with ``min_customers`` no lower than this bank's rule.

    Parameters
    ----------
    run : PinnedRun
    rules : CohortRules
    before : iterable of PinnedRun
        Runs for which this bank has sealed something, ``run`` itself allowed among them. A day
        that was entered in one of them is not entered again unless ``repeat_risk_days`` allows
        it: the tables of two sets of banks show, by difference, those who are in one only.

    Raises
    ------
    CohortError
        If the cohort is smaller than this bank allows.
    ConfigurationError
        If it is no risk run, this bank allows no results for the members alone, or it has entered
        a day of the run before.
    """
    spec = run.risk
    _check_cohort(run, rules)
    others = [other for other in before if other.run_id != run.run_id]
    if not rules.repeat_risk_days:
        _check_new_days(run, [other for other in others if other.spec.kind is RunKind.RISK])
    own = rules.min_risk_customers or 1
    return spec.model_copy(update={"min_customers": max(spec.min_customers, own)})


def _check_new_days(run: PinnedRun, before: Iterable[PinnedRun]) -> None:
    spec = run.risk
    for other in before:
        first = max(spec.first_day, other.risk.first_day)
        last = min(spec.last_day, other.risk.last_day)
        if first <= last:
            raise ConfigurationError(
                f"run {run.spec.name!r}: sums {day_text(first)}..{day_text(last)}, for which this "
                f"bank has sealed counts in run {other.run_id}; two tables of a day with different "
                "banks show a bank's counts by difference: ask for a run over later days, or, if "
                "the members agree, set repeat_risk_days = true in bank.toml"
            )


def _check_cohort(run: PinnedRun, rules: CohortRules) -> None:
    """Refuse too few banks, and readers of the result that this bank does not allow."""
    spec, size = run.spec, len(run.cohort)
    if size < rules.min_cohort:
        raise CohortError(
            f"run {spec.name!r}: cohort of {size} banks, this bank takes part from "
            f"{rules.min_cohort} on, as sums over fewer show single banks; ask for a larger "
            "cohort, or allow it by --min-cohort"
        )
    if spec.model_visibility not in rules.model_visibility:
        raise ConfigurationError(
            f"run {spec.name!r}: model_visibility is {spec.model_visibility.value!r}, this bank "
            f"allows {' and '.join(v.value for v in rules.model_visibility)} (bank.toml); ask for "
            "another run, or allow it there"
        )
    if min(spec.min_cohort, size) < rules.min_cohort:
        raise CohortError(
            f"run {spec.name!r}: may go on with {spec.min_cohort} banks when others drop out "
            f"(min_cohort of the run), this bank takes part from {rules.min_cohort} on; ask for "
            "another run, or allow it by --min-cohort"
        )


def _check_parameters(params: BoosterParams, rules: CohortRules, *, run: str) -> None:
    """Refuse parameters that look closer at the rows than this bank allows."""
    least = rules.min_min_child_weight
    if least is not None and params.min_child_weight < least:
        raise ParameterError(
            f"run {run!r}: min_child_weight is {params.min_child_weight:g}, this bank allows "
            f"{least:g} and more (min_min_child_weight of bank.toml); ask for another run"
        )
    # XGBoost reads 0 as no limit.
    for name, unlimited in (
        ("max_depth", 0),
        ("max_leaves", 0),
        ("max_bin", None),
        ("num_boost_round", None),
    ):
        limit, value = getattr(rules, f"max_{name}"), getattr(params, name)
        if limit is not None and (value > limit or value == unlimited):
            raise ParameterError(
                f"run {run!r}: {name} is {value}{' (no limit)' if value == unlimited else ''}, "
                f"this bank allows at most {limit} (max_{name} of bank.toml); ask for another run"
            )


def check_epoch(run: PinnedRun, key_epoch: KeyEpoch, *, latest: int) -> None:
    """Refuse a run whose cohort or key is not that of this bank's latest key epoch.

    Parameters
    ----------
    run : PinnedRun
    key_epoch : KeyEpoch
        The run's, as this bank accepted it.
    latest : int
        The latest epoch whose key this bank holds.

    Raises
    ------
    KeyMaterialError
        If the run uses an older epoch, or another key than the epoch's.
    CohortError
        If its cohort is not the epoch's roster.
    """
    where = f"run {run.spec.name!r}"
    if key_epoch.epoch < latest:
        raise KeyMaterialError(
            f"{where}: uses key epoch {key_epoch.epoch}, this bank holds epoch {latest} already; "
            "an old key is never used again: ask for a run with the latest epoch"
        )
    if run.public_key != key_epoch.public_key:
        raise KeyMaterialError(
            f"{where}: uses public key {run.public_key.fingerprint[:16]}..., key epoch "
            f"{key_epoch.epoch} has {key_epoch.public_key.fingerprint[:16]}...; the aggregator is "
            "at fault"
        )
    roster = tuple(member.name for member in key_epoch.roster)
    if run.cohort != roster:
        raise CohortError(
            f"{where}: the aggregator says that the cohort is {', '.join(run.cohort) or 'nobody'}, "
            f"key epoch {key_epoch.epoch} is signed for {', '.join(roster)}; the aggregator is at "
            "fault"
        )


def pin_run(state: StateDirectory, status: RunStatus) -> PinnedRun:
    """Keep the run's description on first sight, and refuse any other later.

    Raises
    ------
    ConflictError
        If the aggregator now describes the run differently.
    """
    seen, pinned = PinnedRun.of(status), state.pinned_run(status.run_id)
    if pinned is None:
        state.pin_run(seen)
    elif pinned != seen:
        changed = [
            name
            for name in type(seen.spec).model_fields
            if getattr(pinned.spec, name) != getattr(seen.spec, name)
        ]
        changed += [
            name
            for name in ("cohort", "public_key")
            if getattr(pinned, name) != getattr(seen, name)
        ]
        raise ConflictError(
            f"run {status.run_id}: the aggregator changed {', '.join(changed)} since this bank "
            "first saw the run; nothing was sent: ask the operator for a new run"
        )
    return seen


def check_generation(generation: Generation, run: PinnedRun, bank: str, *, min_cohort: int) -> None:
    """Refuse a set of banks that this bank does not sum with, whatever the aggregator says.

    Raises
    ------
    ProtocolError
        If a bank of it is foreign or named twice, or this one is not in it.
    CohortError
        If it has fewer banks than the run or this bank allows.
    """
    banks = generation.banks
    if bank not in banks or banks != tuple(sorted(set(banks) & set(run.cohort))):
        raise ProtocolError(
            f"run {run.run_id}: generation {generation.number} is said to be of "
            f"{', '.join(banks) or 'nobody'}, expected some of {', '.join(run.cohort)} with this "
            "bank among them; the aggregator is at fault"
        )
    least = max(min(run.spec.min_cohort, len(run.cohort)), min(min_cohort, len(run.cohort)))
    if len(banks) < least:
        raise CohortError(
            f"run {run.run_id}: generation {generation.number} is of {len(banks)} banks, this "
            f"bank takes part from {least} on; nothing was sent"
        )


def run_facts(
    run: PinnedRun, key_epoch: KeyEpoch, generation: Generation, *, base: bytes, more_rows: int
) -> bytes:
    """Return what every bank must have been told alike, in one encoding.

    It begins the transcript of a generation: banks that were shown different descriptions of the
    run, different key epochs under one number, or another set of banks, or that go on from another
    state of the work, have different contexts, and no sum opens.

    Parameters
    ----------
    base : bytes
        The work so far, as ``StepState.to_bytes``; empty at the beginning.
    more_rows : int
        Most rows of the banks that come in now and were never counted.
    """
    facts = {
        "run": run.model_dump(mode="json"),
        "generation": generation.number,
        "banks": generation.banks,
        "first_step": generation.first_step,
        "first_round": generation.first_round,
        "base": hashlib.sha256(base).hexdigest(),
        "more_rows": more_rows,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return b"fraudfed run v2\0" + text.encode() + bytes.fromhex(key_epoch_digest(key_epoch))
