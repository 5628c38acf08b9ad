"""At the newcomer: adopt a finished run, all of it or nothing.

Everything is checked before anything is kept. Then the tables are kept, each run by itself, then
the model with all that belongs to it; its own file is the last one, as that is what every command
looks for. A command that is killed has left no model, or a whole one, and the same command again
finishes what is left. A table that is there already is whole and stands for itself.
"""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bank_node.adoption.content import SealedShare
from bank_node.adoption.setting_up import OwnPayments, require_no_mistake, scoring_of
from bank_node.adoption.verify import Newcomer, Taken, VerifiedRun, verified_run
from bank_node.approval.digest import approval_hash
from bank_node.checking.against import (
    ComparedFile,
    compare_file,
    compare_with,
    read_statistics,
    statistics_run,
)
from bank_node.config import check_run_id
from bank_node.consortium.members import trust_of
from bank_node.jobs.risk.history import (
    fitting_files,
    in_order,
    named_tables,
    risk_files,
    tables_of,
)
from bank_node.lifecycle.changes import Wish, stage
from bank_node.lifecycle.stage_history import Action, Stage
from bank_node.lifecycle.stages import StageDirectory
from bank_node.policy.policy_file import parse_policy
from bank_node.serving.scorer import Scorer
from bank_node.state.adopted import (
    AdoptedResult,
    AdoptedScoring,
    keep_hash_key,
    read_adopted,
    write_adopted,
)
from bank_node.state.directory import (
    FEATURES_FILE,
    MODEL_FILE,
    SEARCH_FILE,
    STATISTICS_FILE,
    TABLES_FILE,
    StateDirectory,
)
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.risk_file import RiskFile
from fraudfed.boosting.model_reader import read_model
from fraudfed.catalogue.run_check import needs_tables
from fraudfed.consortium.identity import Identity
from fraudfed.durable_file import write_atomic
from fraudfed.errors import ConfigurationError, ConflictError, FraudFedError
from fraudfed.features.publication import features_file
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.tables import RiskTables
from fraudfed.intake.plain_table import contract_schema
from fraudfed.wire.messages import DataContract, RunKind
from fraudfed.wire.search_results import decode

_log = logging.getLogger(__name__)

ADOPTED_POLICY = "adopted-policy.toml"
_DEFAULT_CURRENCY = "GBP"


@dataclass(frozen=True)
class AdoptedModel:
    """What ``adopt`` has done.

    Attributes
    ----------
    adopted : AdoptedResult
        Of the model.
    tables : tuple of str
        Runs of the tables that came with it.
    compared : ComparedFile
        How this bank's data differ from the other banks'.
    stage : Stage
        Of the model now.
    not_staged : str or None
        Why it is no challenger.
    policy : str or None
        File of the warn-only policy; None for a plain table.
    """

    adopted: AdoptedResult
    tables: tuple[str, ...]
    compared: ComparedFile
    stage: Stage
    not_staged: str | None
    policy: str | None


def adopt(
    state: StateDirectory,
    identity: Identity,
    run_id: str,
    shares: Sequence[SealedShare],
    own: OwnPayments,
    *,
    against: str | None,
    by: str,
) -> AdoptedModel:
    """Check a shared run and this bank's data, keep it, and let the model shadow the champion.

    Parameters
    ----------
    state : StateDirectory
        Locked by this process, and unlocked.
    identity : Identity
        This bank's.
    run_id : str
    shares : sequence of SealedShare
        One of each bank that signed the result.
    own : OwnPayments
    against : str or None
        Statistics run of this bank to hold the data against; None: the one that is shared.
    by : str
        Who decides, for the history.

    Raises
    ------
    FraudFedError
        As ``verified_run``; DataError if the data look like a mistake; ConflictError if this bank
        holds another result of one of the runs; nothing is kept then.
    """
    check_run_id(run_id)
    if state.record(run_id) is not None:
        raise ConfigurationError(
            f"run {run_id}: this bank took part in it and has its result, expected a run without "
            f"it; score with 'bank-node score --run {run_id}'"
        )
    pins = state.pinned_roster()
    newcomer = Newcomer(identity.member(state.config.name), identity, pins, trust_of(state, pins))
    found = verified_run(run_id, shares, newcomer)
    taken = (found.model, *found.tables, *(() if found.statistics is None else (found.statistics,)))
    for each in taken:
        _check_unknown(state, each)
    files = _tables_files(state, found)
    shared = _shared(files, found.run.contract)
    compared = _compared(state, found, files, own, against=against)
    require_no_mistake(compared, own.path)
    scoring = _scoring(found, own, shared)
    _keep(state, identity, found, scoring, compared)
    stage_now, not_staged = _challenge(state, found, by)
    adopted = read_adopted(state, run_id)
    if adopted is None:
        raise ConflictError(f"run {run_id}: was removed while it was adopted; adopt it again")
    policy = None
    if scoring is not None:
        policy = str(state.model_path(run_id).with_name(ADOPTED_POLICY))
    return AdoptedModel(
        adopted=adopted,
        tables=tuple(each.said.run_id for each in found.tables),
        compared=compared,
        stage=stage_now,
        not_staged=not_staged,
        policy=policy,
    )


def _check_unknown(state: StateDirectory, taken: Taken) -> None:
    """Refuse a result that contradicts what this bank knows of the run."""
    run = taken.held.run
    pinned = state.pinned_run(run.run_id)
    if pinned is not None and approval_hash(pinned) != taken.said.description_sha256:
        raise ConflictError(
            f"run {run.run_id}: this bank has seen it with description {approval_hash(pinned)}, it "
            f"is shared with {taken.said.description_sha256}; the aggregator showed one of them a "
            "false one, and nothing was adopted: ask the operator"
        )
    kept = state.record(run.run_id)
    adopted = read_adopted(state, run.run_id)
    known = kept.get("model_sha256") if kept else None if adopted is None else adopted.model_sha256
    if known not in (None, taken.said.plain_sha256):
        raise ConflictError(
            f"run {run.run_id}: this bank holds result {known}, shared is "
            f"{taken.said.plain_sha256}; nothing was adopted: ask the banks that shared it"
        )


def _tables_files(state: StateDirectory, found: VerifiedRun) -> list[RiskFile]:
    """Return this bank's tables and the shared ones, in their order."""
    here = {file.run_id: file for file in risk_files(state)}
    shared = {each.said.run_id: _risk_file(each) for each in found.tables}
    return in_order({**shared, **here}.values())


def _risk_file(tables: Taken) -> RiskFile:
    held = tables.held
    return RiskFile(
        run_id=tables.said.run_id,
        registry_sha256=tables.said.registry_sha256,
        keyed=KeyedTables(RiskTables.from_bytes(held.content), held.hash_key or b""),
    )


def _shared(files: Sequence[RiskFile], contract: DataContract) -> SharedRisk | None:
    if not needs_tables(contract):
        return None
    return tables_of(fitting_files(files, contract), contract)


def _compared(
    state: StateDirectory,
    found: VerifiedRun,
    files: Sequence[RiskFile],
    own: OwnPayments,
    *,
    against: str | None,
) -> ComparedFile:
    """Hold the data against the other banks of a statistics run, as ``check-data --against``."""

    def named(run: PinnedRun) -> SharedRisk | None:
        return named_tables(files, run.contract) if needs_tables(run.contract) else None

    if against is not None:
        run = statistics_run(state, against)
        return compare_file(state, run, own.path, mapping=own.mapping, shared=named(run))
    if found.statistics is None:
        raise ConfigurationError(
            f"run {found.run.run_id}: no statistics run is shared by all of "
            f"{', '.join(found.shared_by)}, expected one to hold the data against; take part in "
            "one ('bank-node statistics') and name it with --against"
        )
    held = found.statistics.held
    others = read_statistics(held.run, held.content)
    return compare_with(
        others,
        held.run,
        own.path,
        state.config.rules,
        hash_key=held.hash_key or b"",
        mapping=own.mapping,
        shared=named(held.run),
    )


def _scoring(
    found: VerifiedRun, own: OwnPayments, shared: SharedRisk | None
) -> AdoptedScoring | None:
    contract, content = found.run.contract, found.model_file
    if contract.kind != "transactions":
        return None
    schema = contract_schema(contract)
    model = read_model(content, schema=schema, source=f"run {found.run.run_id}: the shared model")
    scorer = Scorer(model, contract, hashlib.sha256(content).hexdigest())
    return scoring_of(scorer, contract, own, shared=shared)


def _keep(
    state: StateDirectory,
    identity: Identity,
    found: VerifiedRun,
    scoring: AdoptedScoring | None,
    compared: ComparedFile,
) -> None:
    run_id, model = found.run.run_id, found.model
    if not state.model_path(run_id).exists():
        state.audit_log(identity).append(
            durable=True,
            event="noted",
            kind="adoption",
            method="",
            path="",
            request_id=secrets.token_hex(16),
            body_bytes=0,
            run_id=run_id,
            note=f"adopted model {model.said.plain_sha256} as {', '.join(found.shared_by)} have "
            f"signed it, with {len(found.tables)} risk tables; held against {compared.run_id}",
            time=int(time.time()),
        )
    for tables in found.tables:
        _keep_tables(state, tables, found.shared_by)
    if found.statistics is not None:
        _keep_statistics(state, found.statistics, found.shared_by)
    _begin(state, model, found.shared_by, held_against=compared.run_id, scoring=scoring)
    directory = state.run_directory(run_id)
    files = {
        "signatures.json": found.signatures.model_dump_json(indent=1).encode() + b"\n",
        FEATURES_FILE: features_file(found.run.contract),
    }
    if model.said.kind is RunKind.SEARCH:
        files[SEARCH_FILE] = decode(model.held.content, source=f"run {run_id}")[0]
    if scoring is not None:
        files[ADOPTED_POLICY] = _policy(found.run, scoring).encode()
    # The model last: where it is, the rest is complete.
    for name, content in {**files, MODEL_FILE: found.model_file}.items():
        write_atomic(directory / name, content)
    if state.config.last_run(model.said.kind) is None:
        state.save_config(state.config.with_last_run(model.said.kind, run_id))


def _begin(
    state: StateDirectory,
    taken: Taken,
    shared_by: tuple[str, ...],
    *,
    held_against: str | None = None,
    scoring: AdoptedScoring | None = None,
) -> None:
    """Keep where a result is from, and its run, before the result itself."""
    said = taken.said
    before = read_adopted(state, said.run_id)
    adopted = AdoptedResult(
        run_id=said.run_id,
        kind=said.kind,
        at=int(time.time()) if before is None else before.at,
        members=said.signers,
        shared_by=shared_by,
        description_sha256=said.description_sha256,
        model_sha256=said.plain_sha256,
        registry_sha256=said.registry_sha256,
        held_against=held_against,
        scoring=scoring,
    )
    write_adopted(state, adopted)
    if state.pinned_run(said.run_id) is None:
        state.pin_run(taken.held.run)


def _keep_tables(state: StateDirectory, tables: Taken, shared_by: tuple[str, ...]) -> None:
    run_id = tables.said.run_id
    path = state.path / "runs" / run_id / TABLES_FILE
    if path.exists():
        return
    _begin(state, tables, shared_by)
    content = _risk_file(tables).to_bytes()
    write_atomic(path, state.vault.seal(f"runs/{run_id}/{TABLES_FILE}", content))


def _keep_statistics(state: StateDirectory, statistics: Taken, shared_by: tuple[str, ...]) -> None:
    run_id = statistics.said.run_id
    path = state.path / "runs" / run_id / STATISTICS_FILE
    if path.exists():
        return
    _begin(state, statistics, shared_by)
    keep_hash_key(state, run_id, statistics.held.hash_key or b"")
    write_atomic(path, statistics.held.content)


def _policy(run: PinnedRun, scoring: AdoptedScoring) -> str:
    """Return a policy that warns of what the bank's people can look into, and does no more."""
    currency = run.contract.currency
    days = max(1, -(-(scoring.last_event - scoring.first_event + 1) // 86_400))
    text = "\n".join(
        (
            f"# Warns of the {scoring.alerts} highest of {scoring.payments} scores of "
            f"{days} days. Edit it as you",
            "# like; warn_only stays true until the gate has let the model be promoted.",
            f"version = {json.dumps(f'adopted {run.run_id}'[:100])}",
            f'currency = "{_DEFAULT_CURRENCY if currency is None else currency.code}"',
            f"alert_budget_a_day = {max(1, scoring.alerts // days)}",
            "warn_only = true",
            "",
            "[[rules]]",
            'name = "adopted"',
            "[rules.score]",
            f"warn = {scoring.threshold!r}",
            "",
        )
    )
    parse_policy(text, source="the adopted policy")
    return text


def _challenge(state: StateDirectory, found: VerifiedRun, by: str) -> tuple[Stage, str | None]:
    """Let the model shadow the champion, unless another one does; return its stage."""
    directory = StageDirectory.of_state(state.path)
    sha256 = hashlib.sha256(found.model_file).hexdigest()
    stages = directory.read()
    now = stages.now.of(sha256)
    if now is not Stage.CANDIDATE:
        return now, None
    holder = stages.holder(Stage.CHALLENGER)
    if holder is not None:
        return now, f"{holder.title} is the challenger"
    try:
        stage(state, Action.CHALLENGE, found.run.run_id, Wish(by=by))
    except FraudFedError as error:
        _log.warning("the adopted model is no challenger: %s", error)
        return now, str(error)
    return Stage.CHALLENGER, None
