"""A folder that ``data-gen`` has written as the demo's input: payments or credit applications."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from fraudfed.errors import DataError
from fraudfed.intake.plain_table import read_plain_table
from fraudfed.lab.demo.arrivals import arrivals_data
from fraudfed.lab.demo.cutoffs import choose_cutoffs
from fraudfed.lab.demo.data import BankSource, DemoData, require_cohort
from fraudfed.lab.demo.feature_table import ALL_TRAIN, Shares, table_data, write_bank
from fraudfed.lab.demo.transactions import reports_of, transactions_data
from fraudfed.reading.file import DataFile
from fraudfed.wire.messages import DataContract


def open_generated(
    directory: Path,
    *,
    work: Path,
    inbound: bool = False,
    shares: Shares = ALL_TRAIN,
    horizon_days: int | None = None,
) -> DemoData:
    """Open a folder as ``data-gen`` writes it, of any preset.

    Parameters
    ----------
    directory : Path
    work : Path
        For files of each bank's own, where its rows must be cut first.
    inbound : bool
        What arrives at each bank, instead of what its customers pay.
    shares : Shares
        Of rows without times.
    horizon_days : int or None
        Label horizon of payments; None chooses it from the data.

    Raises
    ------
    DataError
        If it is no such folder.
    CohortError
        If it has too few banks.
    """
    file = directory / "manifest.json"
    if not file.is_file():
        raise DataError(
            f"--data {directory}: manifest.json is missing; expected a folder that "
            "`data-gen generate --out DIR` has written"
        )
    try:
        manifest: dict[str, Any] = json.loads(file.read_text("utf-8-sig"))
        names = sorted(str(bank["name"]) for bank in manifest["banks"])
        require_cohort(len(names), what=f"--data {directory}")
        if manifest["kind"] == "transactions":
            if inbound:
                return arrivals_data(
                    directory, names, manifest, work=work, horizon_days=horizon_days
                )
            return _transactions(directory, names, manifest, horizon_days=horizon_days)
        if inbound:
            raise DataError(
                f"--data {directory}: holds {manifest['kind']}, expected transactions for "
                "--view inbound; leave --view out"
            )
        return _applications(directory, names, manifest, work=work, shares=shares)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DataError(
            f"{file}: cannot be read as a manifest of data-gen ({error!r}); generate the folder "
            "again"
        ) from error


def _transactions(
    directory: Path, names: list[str], manifest: Mapping[str, Any], *, horizon_days: int | None
) -> DemoData:
    """Return transactions; those from the manifest's split time on judge."""
    banks = []
    for name in names:
        files = [directory / name / f"transactions.{suffix}" for suffix in ("parquet", "csv")]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise DataError(f"{directory / name}: transactions.parquet or .csv is missing")
        banks.append(BankSource(name=name, train_file=found, test_file=found))
    period = (int(manifest["start_time"]), int(manifest["end_time"]))
    return transactions_data(
        banks,
        data=f"Synthetic transactions of {len(names)} banks; no real person is in them.",
        rows=int(manifest["rows"]),
        period=period,
        cutoffs=choose_cutoffs(
            period,
            *reports_of(banks),
            horizon_days=horizon_days,
            select_until=int(manifest["split_time"]),
        ),
    )


def _applications(
    directory: Path, names: list[str], manifest: Mapping[str, Any], *, work: Path, shares: Shares
) -> DemoData:
    """Return credit applications: trained on labels known at the split time, judged on later ones.

    They name nothing that banks have in common but the applicant, whom no bank may look up at
    others: no risk is shared.
    """
    contract = DataContract.model_validate(manifest["contract"])
    split_time = int(manifest["split_time"])
    banks = []
    for name in names:
        file = DataFile.open(directory / name / "applications.parquet")
        times = dict.fromkeys(("label_time", "application_time"), pa.float64())
        rows = read_plain_table(file, contract, file.problems(), with_labels=True, extra=times)
        known, applied = (rows.extra[time].to_numpy() for time in times)
        banks.append(
            write_bank(work, name, rows, contract, known <= split_time, applied >= split_time)
        )
    return table_data(
        banks,
        data=f"Synthetic credit applications at {len(names)} banks; no real person is in them.",
        split="Trained on defaults known at the split time, judged on all later applications."
        + (
            " Three fifths of the former train and a fifth selects, at random."
            if shares.searches
            else ""
        ),
        contract=contract,
        shares=shares,
        rows=int(manifest["rows"]),
    )
