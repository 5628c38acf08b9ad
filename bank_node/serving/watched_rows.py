"""A bank's payments as monitoring takes them: from a file, scored by an accepted model."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from bank_node.data.contract import load_built_rows
from bank_node.serving.scorer import read_model_file
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.predict import predict_margins
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.errors import ConfigurationError
from fraudfed.evaluation.drift.outcomes import DecidedRows
from fraudfed.evaluation.drift.rows import MONITORED_CHANNELS, MONITORED_KINDS, MonitoredRows
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import FeatureTable
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import contract_columns
from fraudfed.payments.fraud_kinds import OTHER, fraud_kind_of
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract

NO_CHANNEL: Final = len(MONITORED_CHANNELS) - 1
_KIND_NOT_SAID: Final = len(MONITORED_KINDS) - 1


@dataclass(frozen=True, eq=False)
class WatchedRows:
    """Scored payments without alerts: these depend on a threshold.

    Attributes
    ----------
    rows : MonitoredRows
        None of them is an alert.
    amount_minor : ndarray of shape (n_rows,), dtype=int64
    """

    rows: MonitoredRows
    amount_minor: Int64Array

    def with_alerts(self, score: float) -> MonitoredRows:
        """Return the rows with those as alerts whose score is ``score`` or more, 0 to 1."""
        found = self.rows
        is_alert = found.margins >= math.log(score / (1 - score))
        return MonitoredRows(**{**found.__dict__, "is_alert": is_alert})

    def decided(self, score: float) -> DecidedRows:
        """Return them as outcomes count them: an alert is taken to stop its payment."""
        rows = self.with_alerts(score)
        return DecidedRows(
            event_time=rows.event_time,
            amount_minor=self.amount_minor,
            is_alert=rows.is_alert,
            is_stopped=rows.is_alert,
            report_time=rows.report_time,
        )

    @property
    def as_of(self) -> int:
        """The time up to which reports are known: the last payment or report, UTC epoch seconds."""
        return int(max(self.rows.event_time.max(), self.rows.report_time.max()))


def watch_file(
    path: Location,
    contract: DataContract,
    *,
    model: Path,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    threads: int | None = None,
) -> WatchedRows:
    """Read, check and score a file of transactions.

    Parameters
    ----------
    path, model : Path
    contract : DataContract
        Of the model.
    mapping, shared
        As ``load_built_rows``.
    threads : int or None
        They change nothing.

    Raises
    ------
    DataError
        If the file does not meet the contract.
    ConfigurationError
        If the contract is of a plain table, whose rows have no times.
    StateError
        If the model cannot be read.
    """
    if contract.kind == "table":
        raise ConfigurationError(
            "data contract: is of a plain table, expected transactions: rows without times have no "
            "weeks to compare"
        )
    data = read_model_file(model)
    read = read_model(data, schema=contract_schema(contract), source=str(model))
    raw, built = load_built_rows(
        path, contract, mapping=mapping, shared=shared, analysis=("fraud_kind",)
    )
    features = contract_columns(built, contract)
    judged = raw.iloc[built.positions]
    unknown = np.zeros(features.shape, dtype=np.bool_)
    for at, spec in enumerate(contract.features):
        if spec.categories and spec.name in judged.columns:
            has_text = judged[spec.name].notna().to_numpy(dtype=np.bool_)
            unknown[:, at] = np.isnan(features[:, at]) & has_text
    no: BoolArray = np.zeros(len(features), dtype=np.bool_)
    return WatchedRows(
        MonitoredRows(
            event_time=built.event_time,
            channel=_channels(judged),
            margins=predict_margins(read, features, threads=threads),
            is_alert=no,
            is_fallback=no,
            features=features,
            is_unknown=unknown,
            report_time=_report_time(built),
            fraud_kind=_kinds(judged),
        ),
        judged["amount_minor"].to_numpy(dtype=np.int64),
    )


def _report_time(built: FeatureTable) -> Int64Array:
    return np.where(built.labels == 1, built.label_time, np.int64(-1)).astype(np.int64)


def _channels(judged: pd.DataFrame) -> Int64Array:
    if "channel" not in judged.columns:
        return np.full(len(judged), NO_CHANNEL, dtype=np.int64)
    place = {name: at for at, name in enumerate(MONITORED_CHANNELS)}
    codes, names = pd.factorize(judged["channel"])
    places = [place.get(str(name), NO_CHANNEL) for name in names]
    # The last entry is what number -1, no value, picks.
    return np.array([*places, NO_CHANNEL], dtype=np.int64)[codes]


def _kinds(judged: pd.DataFrame) -> Int64Array:
    if "fraud_kind" not in judged.columns:
        return np.full(len(judged), _KIND_NOT_SAID, dtype=np.int64)
    codes, names = pd.factorize(judged["fraud_kind"])
    places = [MONITORED_KINDS.index(fraud_kind_of(str(name)) or OTHER) for name in names]
    return np.array([*places, _KIND_NOT_SAID], dtype=np.int64)[codes]
