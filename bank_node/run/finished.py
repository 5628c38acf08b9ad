"""Runs that are over: what this bank has of them, and how it gets what it has not.

A bank that was dropped, or was killed before it could keep the result, takes the accepted one from
the registry. It takes nothing there that enough banks of the run have not signed.
"""

import hashlib
import logging
import time
from typing import Any

from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.http.client import AggregatorClient
from bank_node.run.result import keep_result, result_facts
from bank_node.run.vote import check_signatures
from bank_node.state.directory import PinnedRun, StateDirectory
from fraudfed import __version__
from fraudfed.consortium.model_seal import open_model
from fraudfed.errors import ConflictError, StateError
from fraudfed.paillier.kernel import select_kernel
from fraudfed.wire.messages import ModelVisibility, RunStatus

_log = logging.getLogger(__name__)


def finished_record(state: StateDirectory, status: RunStatus) -> dict[str, Any]:
    """Return the record of a run whose result this bank holds.

    Raises
    ------
    StateError
        If the aggregator has accepted another result.
    """
    record = state.record(status.run_id)
    if record is None or record.get("registry_sha256") != status.model_sha256:
        raise StateError(
            f"run {status.run_id}: is finished at the aggregator, but this state directory does "
            "not hold its result; restore the directory, or ask the operator for a new run"
        )
    _log.info("run %s was finished before; nothing to do", status.run_id)
    return record


def fetch_result(
    state: StateDirectory, client: AggregatorClient, run: PinnedRun, epoch: AcceptedEpoch
) -> dict[str, Any]:
    """Take the accepted result from the registry, keep it, and return a record of it.

    Raises
    ------
    ConflictError
        If it is not the model that the banks have signed, or too few or foreign banks have.
    AuthError
        If a signature is not that bank's.
    KeyMaterialError
        If a sealed result does not open.
    StateError
        If the result cannot be read.
    """
    run_id = run.run_id
    stored, signatures = client.model(run_id), client.model_signatures(run_id)
    result = stored
    if run.spec.model_visibility is ModelVisibility.MEMBERS:
        result = open_model(stored, holder=epoch.package, run_id=run_id)
    banks = tuple(one.bank for one in signatures.signatures)
    least = min(run.spec.min_cohort, len(run.cohort))
    if banks != tuple(sorted(set(banks) & set(run.cohort))) or len(banks) < least:
        raise ConflictError(
            f"run {run_id}: the model is signed by {', '.join(banks) or 'nobody'}, expected at "
            f"least {least} of {', '.join(run.cohort)}; the aggregator is at fault, the model was "
            "not kept"
        )
    sha256, plain_sha256 = (hashlib.sha256(data).hexdigest() for data in (stored, result))
    check_signatures(
        signatures, run, epoch.key_epoch, sha256=sha256, plain_sha256=plain_sha256, banks=banks
    )
    public = epoch.package.public_key
    record: dict[str, Any] = {
        "run_id": run_id,
        "name": run.spec.name,
        "bank": state.config.name,
        "members": list(banks),
        "fraudfed_version": __version__,
        **result_facts(run, result),
        "model_sha256": plain_sha256,
        "registry_sha256": sha256,
        "model_visibility": run.spec.model_visibility.value,
        "key_epoch": epoch.key_epoch.epoch,
        "key_bits": public.key_bits,
        "key_fingerprint": public.fingerprint,
        "kernel": select_kernel().name,
        "taken_from_registry": True,
        "transport": "https" if state.config.aggregator.startswith("https:") else "loopback",
        **state.round_log(run_id).summary(),
        "finished_at": int(time.time()),
    }
    keep_result(state, run, epoch, result, signatures, record)
    _log.info("took the result of run %s from the registry, signed by %s", run_id, ", ".join(banks))
    return record
