"""At a member: let another bank of the consortium adopt a run that this one finished.

What is handed over is what the member itself holds and has checked: the model, the run's
description, the risk tables that the model scores with, statistics to hold data against. A bank
speaks for nobody else: a newcomer needs the consent of every bank that signed the model.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from bank_node.adoption.content import Content, Held, SealedShare
from bank_node.approval.digest import approval_hash
from bank_node.config import ShareRule, check_run_id
from bank_node.consortium.members import trust_of
from bank_node.jobs.risk.history import fitting_files, risk_files
from bank_node.state.directory import SEARCH_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.catalogue.run_check import needs_tables
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.documents import check_member_keys
from fraudfed.consortium.public.shares import sign_share
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.errors import (
    ConfigurationError,
    ForbiddenError,
    FraudFedError,
    NotFoundError,
    StateError,
)
from fraudfed.wire.messages import MemberKeys, ModelSignatures, RunKind, SharedResult, parse

_MODELS = (RunKind.TRAINING, RunKind.SEARCH)


@dataclass(frozen=True)
class _Known:
    """A result with what is said of it."""

    held: Held
    said: SharedResult


def share_run(
    state: StateDirectory,
    identity: Identity,
    run_id: str,
    newcomer: str,
    *,
    statistics_run: str | None = None,
) -> SealedShare:
    """Return a share of a run for a bank that took no part in it; nothing leaves by this.

    Parameters
    ----------
    state : StateDirectory
        Unlocked.
    identity : Identity
        This bank's.
    run_id : str
        A training or search that this bank took part in to the end.
    newcomer : str
        Name of a confirmed member.
    statistics_run : str or None
        None: the latest finished one over the features of the run, if there is any.

    Raises
    ------
    ForbiddenError
        If this bank's rule shares nothing, or the newcomer is not confirmed or has left.
    NotFoundError
        If there is no such member.
    ConfigurationError
        If the run has no model, or the newcomer took part in it.
    StateError
        If this bank does not know or has not finished the run, or a file is damaged.
    """
    if state.config.rules.share_finished_runs is ShareRule.NO:
        raise ForbiddenError(
            f'run {run_id}: is not shared, as share_finished_runs is "no" in [rules] of '
            'bank.toml; set it to "ask" if this bank consents'
        )
    run = _finished(state, run_id)
    member = _newcomer(state, run, newcomer)
    model = _model(state, run)
    if state.config.name not in model.said.signers:
        raise ConfigurationError(
            f"run {run_id}: this bank did not take part in it to the end and signed no result, "
            f"expected one of {', '.join(model.said.signers)}; ask them to share it"
        )
    tables = _tables(state, run)
    statistics = _statistics(state, run, statistics_run)
    known = (model, *tables, *(() if statistics is None else (statistics,)))
    share = sign_share(
        identity,
        bank=state.config.name,
        newcomer=member,
        model=model.said,
        tables=tuple(each.said for each in tables),
        statistics=None if statistics is None else statistics.said,
        at=int(time.time()),
    )
    content = Content(tuple(each.held for each in known), _signatures(state, run_id))
    return SealedShare.seal(share, content)


def note_share(state: StateDirectory, identity: Identity, sealed: SealedShare, data: bytes) -> None:
    """Write down that a share leaves this bank by hand, before it does."""
    state.audit_log(identity).append(
        durable=True,
        event="sent",
        kind="run-share",
        method="",
        path="",
        request_id=secrets.token_hex(16),
        body_bytes=len(data),
        body_sha256=hashlib.sha256(data).hexdigest(),
        run_id=sealed.share.model.run_id,
        note=f"to {sealed.share.newcomer.name}, as a file",
        time=int(time.time()),
    )


def _finished(state: StateDirectory, run_id: str) -> PinnedRun:
    run = state.pinned_run(check_run_id(run_id))
    if run is None:
        raise StateError(
            f"run {run_id}: this bank does not know it, expected one that it finished "
            "('bank-node models list')"
        )
    if run.spec.kind not in _MODELS:
        raise ConfigurationError(
            f"run {run_id} ({run.spec.name}): is of kind {run.spec.kind} and has no model, "
            "expected a training or a search; tables and statistics are shared with the model"
        )
    if state.record(run_id) is None:
        raise StateError(
            f"run {run_id} ({run.spec.name}): is not finished at this bank; a bank shares only "
            "what it helped to make: finish the run first"
        )
    return run


def _newcomer(state: StateDirectory, run: PinnedRun, name: str) -> MemberKeys:
    pins = state.pinned_roster()
    member = pins.members.get(name)
    if member is None:
        raise NotFoundError(
            f"no member {name!r} is pinned at this bank, expected one of "
            f"{', '.join(sorted(pins.members))}; see the current members with `bank-node roster`"
        )
    if name in run.cohort:
        raise ConfigurationError(
            f"run {run.run_id}: {name} is of its cohort, expected a bank that was not there; it "
            "takes the result with 'bank-node train'"
        )
    trust_of(state, pins).require_members([name])
    check_member_keys(member)
    return member


def _model(state: StateDirectory, run: PinnedRun) -> _Known:
    path = state.model_path(run.run_id)
    content = _read(state, path.parent.name, path.name)
    if run.spec.kind is RunKind.SEARCH:
        # As the banks have signed it.
        content = _read(state, run.run_id, SEARCH_FILE) + content
    return _known(state, Held(run, content))


def _tables(state: StateDirectory, run: PinnedRun) -> tuple[_Known, ...]:
    contract = run.contract
    if not needs_tables(contract):
        return ()
    found = []
    for file in fitting_files(risk_files(state), contract):
        pinned = state.pinned_run(file.run_id)
        if pinned is None or state.record(file.run_id) is None:
            # Adopted themselves: this bank cannot vouch for them.
            continue
        keyed = file.keyed
        found.append(_known(state, Held(pinned, keyed.tables.to_bytes(), keyed.hash_key)))
    return tuple(found)


def _statistics(state: StateDirectory, run: PinnedRun, wanted: str | None) -> _Known | None:
    if wanted is None:
        chosen = _latest_statistics(state, run)
        if chosen is None:
            return None
    else:
        pinned = state.pinned_run(check_run_id(wanted))
        if pinned is None or state.record(wanted) is None:
            raise StateError(
                f"run {wanted}: is no statistics run that this bank finished; name another with "
                "--statistics"
            )
        _ = pinned.statistics
        chosen = pinned
    hash_key = derive_risk_key(state.key_package(chosen.spec.key_epoch))
    return _known(state, Held(chosen, state.statistics(chosen.run_id), hash_key))


def _latest_statistics(state: StateDirectory, run: PinnedRun) -> PinnedRun | None:
    """Return the last statistics over the features of a run; the same at every member."""
    wanted = run.contract.features
    found = [
        each
        for each in state.known_runs(RunKind.STATISTICS)
        if each.contract.features == wanted and state.record(each.run_id) is not None
    ]
    return max(found, key=lambda each: (each.contract.train_until or 0, each.run_id), default=None)


def _known(state: StateDirectory, held: Held) -> _Known:
    run_id = held.run.run_id
    record = _record(state, run_id)
    plain_sha256 = hashlib.sha256(held.content).hexdigest()
    if plain_sha256 != record["model_sha256"]:
        raise StateError(
            f"run {run_id}: its result here is not the one that the banks have signed; restore "
            "the directory from its newest backup"
        )
    said = SharedResult(
        run_id=run_id,
        kind=held.run.spec.kind,
        description_sha256=approval_hash(held.run),
        plain_sha256=plain_sha256,
        registry_sha256=record["registry_sha256"],
        signers=tuple(record["members"]),
    )
    return _Known(held, said)


def _record(state: StateDirectory, run_id: str) -> dict[str, Any]:
    record = state.record(run_id) or {}
    if not {"model_sha256", "registry_sha256", "members"} <= record.keys():
        raise StateError(f"run {run_id}: record.json is not whole; restore it from a backup")
    return record


def _signatures(state: StateDirectory, run_id: str) -> ModelSignatures:
    data = _read(state, run_id, "signatures.json")
    try:
        return parse(ModelSignatures, data, source=f"runs/{run_id}/signatures.json")
    except FraudFedError as error:
        raise StateError(f"{error}; restore the file from a backup") from None


def _read(state: StateDirectory, run_id: str, name: str) -> bytes:
    path = state.path / "runs" / run_id / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); restore it from a backup"
        ) from error
