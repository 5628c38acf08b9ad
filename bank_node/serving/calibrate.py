"""Fit probabilities beside a model's scores to this bank's own mature payments. Nothing is sent."""

import hashlib
import logging
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bank_node.data.contract import TableShares, load_later_rows, load_training_rows
from bank_node.data.cutoffs import time_text
from bank_node.serving.calibration_file import CalibrationFile, write_calibration
from bank_node.serving.scorer import read_model_file
from bank_node.state.pinned_run import PinnedRun
from fraudfed.adaptation.calibration import (
    LEAST_CASES,
    PooledBin,
    fit_calibration,
    own_prevalence,
    pooled_calibration,
)
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.predict import predict
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.evaluation.cases import case_numbers
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.outcomes import outcomes_without_times
from fraudfed.intake.plain_table import contract_schema
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Mature:
    """Rows with known labels that the model was not trained on."""

    features: Float32Array
    labels: Float32Array
    n_cases: int
    event_time: Int64Array | None = None
    as_of: int | None = None

    @classmethod
    def of(cls, features: Float32Array, outcomes: Outcomes, *, as_of: int | None) -> "_Mature":
        known = ~outcomes.is_censored
        return cls(
            features=features[known],
            labels=outcomes.labels[known],
            n_cases=int(case_numbers(outcomes).max(initial=-1)) + 1,
            event_time=None if outcomes.event_time is None else outcomes.event_time[known],
            as_of=as_of,
        )


def calibrate(
    data: Location,
    run: PinnedRun,
    *,
    model: Path,
    pooled: Sequence[PooledBin] = (),
    start: int | None = None,
    as_of: int | None = None,
    prevalence: float | None = None,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    threads: int | None = None,
) -> tuple[Path, CalibrationFile]:
    """Write ``calibration.json`` beside a model.

    Parameters
    ----------
    data : Path
        The bank's payments, with those before the training's cut-off that features look back at.
    run : PinnedRun
        The run that the model is of.
    model : Path
    pooled : sequence of PooledBin
        What all banks found together, for a bank with less than 50 cases; empty if nobody knows.
    start, as_of : int or None
        UTC epoch seconds. None: from the training's cut-off and its gap on, as of the file's end.
    prevalence : float or None
        This bank's share of fraud, for a pooled calibration; None: from its mature payments.
    mapping, shared
        As ``load_training_rows``.
    threads : int or None
        They change no result.

    Returns
    -------
    path : Path
    content : CalibrationFile

    Raises
    ------
    ConfigurationError
        If the time from which on the model has not seen payments is not known, or has been seen.
    DataError
        If the data do not meet the contract, or hold too few cases where nothing pooled is known.
    StateError
        If the model cannot be read, or the file not be written.
    """
    schema = contract_schema(run.contract)
    content = read_model_file(model)
    scorer = read_model(content, schema=schema, source=str(model))
    if run.contract.kind == "transactions":
        begin = _start(run.contract, start)
        rows, until = load_later_rows(
            data, run.contract, start=begin, as_of=as_of, mapping=mapping, shared=shared
        )
        mature = _Mature.of(rows.features, rows.outcomes, as_of=until)
    else:
        if start is not None or as_of is not None:
            raise ConfigurationError(
                "--from and --as-of: the rows of a table have no times; leave both out"
            )
        mature = _of_table(data, run, mapping)
    scores = predict(scorer, mature.features, threads=threads)
    calibration = fit_calibration(scores, mature.labels, n_cases=mature.n_cases)
    share: float | None = None
    if calibration is None:
        if not pooled:
            raise DataError(_too_few(data, run.contract, mature, start))
        share = prevalence
        if share is None:
            of_all = sum(each.frauds for each in pooled) / sum(each.rows for each in pooled)
            share = own_prevalence(
                mature.labels.size, int(np.count_nonzero(mature.labels)), pooled=of_all
            )
        calibration = pooled_calibration(pooled, prevalence=share)
    elif prevalence is not None:
        raise ConfigurationError(
            f"--prevalence {prevalence:g}: this bank has {mature.n_cases} mature cases and needs "
            f"none, it is for banks with fewer than {LEAST_CASES}; leave it out"
        )
    times = mature.event_time
    file = CalibrationFile(
        model_sha256=hashlib.sha256(content).hexdigest(),
        calibration=calibration,
        rows=mature.labels.size,
        frauds=int(np.count_nonzero(mature.labels)),
        cases=mature.n_cases,
        first_event=None if times is None or not times.size else int(times.min()),
        last_event=None if times is None or not times.size else int(times.max()),
        as_of=mature.as_of,
        prevalence=share,
    )
    return write_calibration(model, file), file


def pooled_bins(record: MappingOf[str, Any] | None) -> tuple[PooledBin, ...]:
    """Return what the record of a run says that all banks found together; empty if it says nothing.

    Parameters
    ----------
    record : mapping or None
        ``record.json``; its verdict has predicted and observed fraud by bins of the score.
    """
    found: Any = record
    for key in ("result", "verdict", "report", "known", "reliability"):
        found = found.get(key) if isinstance(found, MappingOf) else None
    bins = [
        PooledBin(each["predicted"]["estimate"], each["rows"], each["frauds"])
        for each in found or ()
    ]
    frauds, rows = sum(each.frauds for each in bins), sum(each.rows for each in bins)
    return tuple(bins) if 0 < frauds < rows else ()


def _start(contract: DataContract, start: int | None) -> int:
    """Return the first event time that the model cannot have been trained on."""
    if contract.train_until is None:
        if start is None:
            raise ConfigurationError(
                "the run was trained on every known label, so that nothing says which payments it "
                "has not seen; give the first day of those with --from"
            )
        return start
    if start is None:
        return contract.train_until + contract.gap_days * SECONDS_PER_DAY
    if start < contract.train_until:
        raise ConfigurationError(
            f"--from {time_text(start)}: the run was trained on payments up to "
            f"{time_text(contract.train_until)}, expected that day or a later one; scores of what "
            "a model was trained on are too good"
        )
    return start


def _of_table(data: Location, run: PinnedRun, mapping: Mapping | None) -> _Mature:
    """Return the rows of a table that the run's shares set apart; all if there are none."""
    shares = TableShares.of_run(run.spec)
    windows = load_training_rows(data, run.contract, mapping=mapping, shares=shares).windows
    parts = [part for part in (windows.select, windows.judge) if part is not None]
    if not parts:
        _log.warning(
            "%s: the run set no rows apart to be judged by: probabilities are too good for rows "
            "that it was trained on, give others",
            data,
        )
        outcomes = outcomes_without_times(windows.train.labels)
        return _Mature.of(windows.train.features, outcomes, as_of=None)
    labels = np.concatenate([part.outcomes.labels for part in parts])
    features = np.concatenate([part.features for part in parts])
    return _Mature.of(features, outcomes_without_times(labels), as_of=None)


def _too_few(data: Location, contract: DataContract, mature: _Mature, start: int | None) -> str:
    where = ""
    if contract.kind == "transactions":
        where = (
            f" between {time_text(_start(contract, start))} and {time_text(mature.as_of)} less the "
            f"label horizon of {contract.label_horizon_days.text}"
        )
    return (
        f"{data}: {mature.n_cases} mature cases of fraud among {mature.labels.size} "
        f"payments{where}, expected at least {LEAST_CASES}, or a run whose record says what all "
        "banks found together; wait until more are mature, or give a file with more of them"
    )
