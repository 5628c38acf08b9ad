"""What arrives at generated banks as the demo's input: both directions in one file, and the truth.

A bank trains on and scores its incoming payments; its outgoing ones, in the same file, show what
becomes of the money.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.errors import DataError
from fraudfed.lab.demo.cutoffs import choose_cutoffs
from fraudfed.lab.demo.data import BankSource, DemoData
from fraudfed.lab.demo.transactions import reports_of, transactions_data
from fraudfed.lab.report.mules import ArrivalTruth
from fraudfed.payments.columns import COLUMNS, INBOUND, OUTBOUND, ColumnKind
from fraudfed.reading.file import DataFile

#: Kinds of fraud that bring a mule money.
_STOLEN = ("account_takeover", "push_payment_scam", "mule_chain")
#: How columns of transactions are parsed.
_TYPES = {
    column.name: pa.string() if column.kind is ColumnKind.STRING else pa.float64()
    for column in COLUMNS
}


def arrivals_data(
    directory: Path,
    names: Sequence[str],
    manifest: Mapping[str, Any],
    *,
    work: Path,
    horizon_days: int | None = None,
) -> DemoData:
    """Return the arrivals of a folder that ``data-gen`` has written, judged from its split time on.

    Parameters
    ----------
    directory : Path
    names : sequence of str
        Banks.
    manifest : mapping
    work : Path
        For each bank's file of both directions.
    horizon_days : int or None
        Label horizon; None chooses it from the data.

    Raises
    ------
    DataError
        If a bank's file is missing.
    """
    banks = []
    rows = 0
    for name in names:
        outgoing = _columns(_file(directory / name, "transactions"), _TYPES)
        incoming = _columns(_file(directory / name, "incoming"), _TYPES)
        both = pd.concat([outgoing.assign(direction=OUTBOUND), incoming], ignore_index=True)
        file = work / name / "payments.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        both.to_parquet(file, index=False)
        banks.append(BankSource(name=name, train_file=file, test_file=file))
        rows += len(both)

    n_mules = {bank["name"]: bank["incoming"]["mule_accounts"] for bank in manifest["banks"]}

    def truth(bank: BankSource) -> ArrivalTruth:
        arrivals = _columns(bank.test_file, {**_TYPES, "direction": pa.string()})
        reports: dict[str, float] = {}
        if n_mules[bank.name]:
            types = {"payee_id": pa.string(), "first_report_time": pa.float64()}
            mules = _columns(_file(directory / bank.name, "mules"), types)
            reports = dict(zip(mules["payee_id"], mules["first_report_time"], strict=True))
        return _truth(arrivals[arrivals["direction"] == INBOUND], reports)

    period = (int(manifest["start_time"]), int(manifest["end_time"]))
    return transactions_data(
        banks,
        data=f"Synthetic payments that arrive at {len(names)} banks; no real person is in them.",
        rows=rows,
        period=period,
        cutoffs=choose_cutoffs(
            period,
            *reports_of(banks),
            horizon_days=horizon_days,
            select_until=int(manifest["split_time"]),
        ),
        recipe=INBOUND_RECIPE,
        truth=truth,
    )


def _file(directory: Path, stem: str) -> Path:
    files = [directory / f"{stem}.{suffix}" for suffix in ("parquet", "csv")]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise DataError(
            f"{directory}: {stem}.parquet or .csv is missing; generate the folder with "
            "--set incoming_delay_days=2, or leave --view out"
        )
    return found


def _columns(path: Path, types: Mapping[str, pa.DataType]) -> pd.DataFrame:
    """Read the columns of a file that are there."""
    file = DataFile.open(path)
    there = {name: kind for name, kind in types.items() if file.has(name)}
    frame: pd.DataFrame = file.read(there).to_pandas()
    if file.is_csv:
        # CSV knows no other way to leave a text out.
        texts = [name for name, kind in there.items() if pa.types.is_string(kind)]
        frame[texts] = frame[texts].mask(frame[texts] == "")
    return frame


def _truth(arrivals: pd.DataFrame, reports: Mapping[str, float]) -> ArrivalTruth:
    """Return the truth about payments, given when each mule's account was first reported.

    Parameters
    ----------
    arrivals : DataFrame
    reports : mapping of str to float
        UTC epoch seconds by account; NaN for a mule that never was.
    """
    account = arrivals["payee_id"]
    report = account.map(dict(reports)).to_numpy(dtype=np.float64)
    time = arrivals["event_time"].to_numpy(dtype=np.float64)
    return ArrivalTruth(
        is_stolen=arrivals["fraud_kind"].isin(_STOLEN).to_numpy(dtype=np.bool_),
        account=account.to_numpy(dtype=object),
        is_mule=account.isin(list(reports)).to_numpy(dtype=np.bool_),
        # A comparison with no report is false.
        is_unreported=~(report <= time),
    )
