"""The result of a run of each kind: what is kept of it, and what the record says of it."""

import json
from collections.abc import Mapping
from typing import Any

from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.state.directory import (
    FEATURES_FILE,
    MODEL_FILE,
    TABLES_FILE,
    PinnedRun,
    StateDirectory,
)
from bank_node.state.risk_file import RiskFile
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.features.publication import features_file
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.tables import RiskTables
from fraudfed.wire.messages import ModelSignatures, RunKind


def result_facts(run: PinnedRun, content: bytes) -> dict[str, Any]:
    """Return what the result itself says.

    Returns
    -------
    dict
        ``kind``; of a training ``parameters`` and ``trees``, of a risk run ``first_day`` and
        ``last_day`` (days since 1970-01-01 UTC) and ``table_bytes``.

    Raises
    ------
    StateError
        If the tables of a risk run cannot be read.
    """
    kind = {"kind": run.spec.kind.value}
    if run.spec.kind is RunKind.RISK:
        spec = RiskTables.from_bytes(content).spec
        return {
            **kind,
            "first_day": spec.first_day,
            "last_day": spec.last_day,
            "table_bytes": len(content),
        }
    document = json.loads(content)
    n_trees = len(document["learner"]["gradient_booster"]["model"]["trees"])
    return {**kind, "parameters": dict(run.spec.parameters), "trees": n_trees}


def keep_result(
    state: StateDirectory,
    run: PinnedRun,
    epoch: AcceptedEpoch,
    content: bytes,
    signatures: ModelSignatures,
    record: Mapping[str, Any],
) -> None:
    """Keep an accepted result and the record of its run.

    Parameters
    ----------
    content : bytes
        The plain result, as the banks have signed it.

    Raises
    ------
    StateError
        If it cannot be read or written.
    """
    if run.spec.kind is RunKind.TRAINING:
        files = {MODEL_FILE: content, FEATURES_FILE: features_file(run.contract)}
        state.save_result(run.run_id, files, signatures, record)
        return
    kept = RiskFile(
        run_id=run.run_id,
        registry_sha256=signatures.sha256,
        keyed=KeyedTables(RiskTables.from_bytes(content), derive_risk_key(epoch.package)),
    )
    state.save_result(run.run_id, {TABLES_FILE: kept.to_bytes()}, signatures, record)
