"""What a bank has of risk tables: days, sizes and errors, as ``bank-node risk show`` prints it."""

from itertools import pairwise
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from bank_node.data.risk_days import day_text
from bank_node.jobs.risk.history import risk_files
from bank_node.state.directory import StateDirectory
from bank_node.state.risk_file import RiskFile
from fraudfed.features.shared_risk.noise import RiskNoise
from fraudfed.features.shared_risk.sketch import CountArray, excess_bound, false_presence
from fraudfed.features.shared_risk.tables import RiskTables

#: Of the bound that is shown of counts with noise.
_FAILURE: Final = 0.05


def risk_report(state: StateDirectory) -> dict[str, Any]:
    """Describe all risk tables of a bank, without any count of an identifier.

    Returns
    -------
    dict
        ``runs``, in the order in which later days replace earlier ones, and ``gaps`` between the
        first and the last day of all, as ``first_day`` and ``last_day``; days are ISO dates.

    Raises
    ------
    StateError
        If a file is damaged.
    """
    files = risk_files(state)
    return {"runs": [_run(file) for file in files], "gaps": _gaps(files)}


def _run(file: RiskFile) -> dict[str, Any]:
    tables = file.keyed.tables
    spec = tables.spec
    return {
        "run_id": file.run_id,
        "registry_sha256": file.registry_sha256,
        "first_day": day_text(spec.first_day),
        "last_day": day_text(spec.last_day),
        "entities": list(spec.entities),
        "delay_days": spec.delay_days,
        "min_customers": spec.min_customers,
        "bytes": len(tables.to_bytes()),
        "transactions": _sketches(tables, "transactions", width=spec.transaction_width),
        "frauds": _sketches(tables, "frauds", width=spec.fraud_width),
        "corrections": sum(int(day.corrections[0].sum(dtype=np.int64)) for day in tables.days),
    }


def _sketches(tables: RiskTables, kind: str, *, width: int) -> dict[str, Any]:
    """Describe the fullest sketch of a kind: the others err less."""
    sketches = [getattr(day, kind) for day in tables.days]
    if tables.spec.privacy is not None:
        return _noised_sketches(tables, sketches, kind, width=width)
    fullest = max(sketches, key=lambda sketch: int(sketch[0].sum(dtype=np.int64)))
    total = int(fullest[0].sum(dtype=np.int64))
    off = excess_bound(total=total, width=width, depth=tables.spec.depth)
    return {
        "depth": tables.spec.depth,
        "width": width,
        "largest_total": total,
        "expected_excess": off.expected,
        "excess_bound": off.bound,
        "failure_probability": off.failure_probability,
        "false_presence": false_presence(fullest),
        "noise": 0.0,
    }


def _noised_sketches(
    tables: RiskTables, sketches: list[CountArray], kind: str, *, width: int
) -> dict[str, Any]:
    """Describe sketches with noise: an estimate is right on average, and off both ways."""
    noise = RiskNoise.of(tables.spec)
    sigma = noise.payment_sigma if kind == "transactions" else noise.fraud_sigma
    fullest = max(sketches, key=lambda sketch: int(sketch.sum(dtype=np.int64)))
    return {
        "depth": 1,
        "width": width,
        "largest_total": max(int(fullest.sum(axis=1, dtype=np.int64).max()), 0),
        "expected_excess": 0.0,
        "excess_bound": NormalDist().inv_cdf(1 - _FAILURE) * sigma,
        "failure_probability": _FAILURE,
        # What a look-up of any other identifier would find loud.
        "false_presence": float((fullest > 2 * sigma).mean()),
        "noise": sigma,
    }


def _gaps(files: list[RiskFile]) -> list[dict[str, str]]:
    """Return the days without any table, between the first and the last."""
    covered = sorted(
        {
            day
            for file in files
            for day in range(file.keyed.tables.spec.first_day, file.keyed.tables.spec.last_day + 1)
        }
    )
    return [
        {"first_day": day_text(before + 1), "last_day": day_text(after - 1)}
        for before, after in pairwise(covered)
        if after > before + 1
    ]
