"""Whether a bank's file reaches the cut-offs of a contract, and has mature payments before them."""

from datetime import UTC, datetime

from bank_node.data.contract_terms import KnownFrauds
from fraudfed.errors import DataError
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.wire.messages import DataContract

_CUTOFFS = ("train_until", "select_until", "judge_until")


def check_cutoffs(frauds: KnownFrauds, contract: DataContract, *, source: str) -> tuple[str, ...]:
    """Refuse a file that ends before the last mature payment of a window; warn if it ends early.

    A window ends the label horizon before its cut-off. A file that ends in between has all of its
    payments, and fewer reports of them than the run means.

    Parameters
    ----------
    frauds : KnownFrauds
        Its ``end`` is that of the file.
    contract : DataContract
        Of transactions.
    source : str

    Returns
    -------
    tuple of str
        Warnings.

    Raises
    ------
    DataError
        If a cut-off lies outside the data.
    """
    horizon = max(contract.label_horizon_days.least_days, 1) * SECONDS_PER_DAY
    for name in _CUTOFFS:
        cutoff = getattr(contract, name)
        if cutoff is None:
            continue
        if frauds.end < cutoff - horizon:
            raise DataError(
                f"{source}: ends on {time_text(frauds.end)}, and {name} is {time_text(cutoff)}: "
                f"the payments up to {horizon // SECONDS_PER_DAY} days before it are missing; give "
                "the data up to that day, or leave this run to the other banks"
            )
    last = contract.last_cutoff
    if last is not None and frauds.end < last - SECONDS_PER_DAY:
        days = (last - frauds.end) // SECONDS_PER_DAY
        return (
            f"{source}: ends on {time_text(frauds.end)}, {days} days before the last cut-off "
            f"{time_text(last)}: frauds that were reported between count as clean; give all "
            "reports up to the cut-off",
        )
    return ()


def check_as_of(as_of: int, end: int, *, source: str) -> None:
    """Refuse to label payments as of a time that the file does not reach.

    Parameters
    ----------
    as_of : int
        UTC epoch seconds.
    end : int
        After the latest payment or report of the file, UTC epoch seconds.
    source : str

    Raises
    ------
    DataError
    """
    if as_of > end + SECONDS_PER_DAY:
        raise DataError(
            f"{source}: ends on {time_text(end)}, and payments are to be labelled as of "
            f"{time_text(as_of)}: frauds that were reported between would count as clean; give "
            "the data up to that day, or an earlier one"
        )


def check_train_window(n_train: int, n_rows: int, contract: DataContract, *, source: str) -> None:
    """Refuse a file without a payment to train on.

    Parameters
    ----------
    n_train, n_rows : int
        Payments to train on, and all that are judged.
    contract : DataContract
    source : str

    Raises
    ------
    DataError
    """
    if n_train:
        return
    until, start = contract.train_until, contract.train_from
    if until is None:
        raise DataError(
            f"{source}: none of {n_rows} payments from {time_text(start)} on has a label, expected "
            "some; give payments with is_fraud and label_time"
        )
    raise DataError(
        f"{source}: none of {n_rows} payments is mature: from {time_text(start)} on, and older "
        f"than the label horizon of {contract.label_horizon_days.text} on {time_text(until)} "
        "(train_until); give older payments, or leave this run to the other banks"
    )


def time_text(time: int | None) -> str:
    """Return a time, UTC epoch seconds, as an ISO date, with the second if it is not midnight."""
    if time is None:
        return "the beginning"
    moment = datetime.fromtimestamp(time, UTC)
    return f"{moment:%Y-%m-%d}" if time % SECONDS_PER_DAY == 0 else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
