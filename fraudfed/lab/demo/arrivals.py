"""What arrives at generated banks as the demo's input: both directions in one file, and the truth.

A bank trains on and scores its incoming payments; its outgoing ones, in the same file, show what
becomes of the money.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.schema import INBOUND, OUTBOUND
from fraudfed.errors import DataError
from fraudfed.lab.demo.data import BankSource, DemoData, read_frame
from fraudfed.lab.demo.transactions import transactions_data
from fraudfed.lab.report.mules import ArrivalTruth

#: Kinds of fraud that bring a mule money.
_STOLEN = ("account_takeover", "push_payment_scam", "mule_chain")


def arrivals_data(
    directory: Path, names: Sequence[str], manifest: Mapping[str, Any], *, work: Path
) -> DemoData:
    """Return the arrivals of a folder that ``data-gen`` has written, split at the manifest's time.

    Parameters
    ----------
    directory : Path
    names : sequence of str
        Banks.
    manifest : mapping
    work : Path
        For each bank's file of both directions.

    Raises
    ------
    DataError
        If a bank's file is missing.
    """
    banks = []
    rows = 0
    for name in names:
        outgoing = read_frame(_file(directory / name, "transactions"))
        incoming = read_frame(_file(directory / name, "incoming"))
        both = pd.concat([outgoing.assign(direction=OUTBOUND), incoming], ignore_index=True)
        file = work / name / "payments.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        both.to_parquet(file, index=False)
        banks.append(BankSource(name=name, train_file=file, test_file=file))
        rows += len(both)

    def truth(bank: BankSource) -> ArrivalTruth:
        return _truth(read_frame(bank.test_file), directory / bank.name)

    return transactions_data(
        banks,
        data=f"Synthetic payments that arrive at {len(names)} banks; no real person is in them.",
        rows=rows,
        period=(int(manifest["start_time"]), int(manifest["end_time"])),
        split_time=int(manifest["split_time"]),
        delay=int(manifest["label_delay_seconds"]),
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


def _truth(payments: pd.DataFrame, directory: Path) -> ArrivalTruth:
    """Return the truth about the inbound payments of a bank's file, in its order."""
    arrivals = payments[payments["direction"] == INBOUND]
    mules = read_frame(_file(directory, "mules")).set_index("payee_id")
    account = arrivals["payee_id"]
    report = account.map(mules["first_report_time"]).to_numpy(dtype=np.float64)
    time = arrivals["event_time"].to_numpy(dtype=np.float64)
    return ArrivalTruth(
        is_stolen=arrivals["fraud_kind"].isin(_STOLEN).to_numpy(dtype=np.bool_),
        account=account.to_numpy(dtype=object),
        is_mule=account.isin(mules.index).to_numpy(dtype=np.bool_),
        # A comparison with no report is false.
        is_unreported=~(report <= time),
    )
