"""How well a receiving bank's scores find mules: by payment that brings stolen money, by account.

A label says what was reported; what is measured here is the truth, which only generated data have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich import box
from rich.table import Table

from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.evaluation.metrics import auprc


@dataclass(frozen=True, eq=False)
class ArrivalTruth:
    """The truth about payments that arrive at one bank; a value for each.

    Attributes
    ----------
    is_stolen : ndarray of shape (n_rows,), dtype=bool
        Whether the payment is stolen money.
    account : ndarray of shape (n_rows,), dtype=object
        The account that is paid.
    is_mule : ndarray of shape (n_rows,), dtype=bool
        Whether stolen money ever reached that account.
    is_unreported : ndarray of shape (n_rows,), dtype=bool
        Whether the bank had no report of stolen money at the account yet.
    """

    is_stolen: BoolArray
    account: npt.NDArray[np.object_]
    is_mule: BoolArray
    is_unreported: BoolArray

    def take(self, rows: BoolArray) -> "ArrivalTruth":
        """Return the truth about some of the payments."""
        return ArrivalTruth(
            is_stolen=self.is_stolen[rows],
            account=self.account[rows],
            is_mule=self.is_mule[rows],
            is_unreported=self.is_unreported[rows],
        )

    @staticmethod
    def join(parts: "Sequence[ArrivalTruth]") -> "ArrivalTruth":
        """Return the truth about the payments of several banks, whose accounts are distinct."""
        return ArrivalTruth(
            is_stolen=np.concatenate([part.is_stolen for part in parts]),
            account=np.concatenate([part.account for part in parts]),
            is_mule=np.concatenate([part.is_mule for part in parts]),
            is_unreported=np.concatenate([part.is_unreported for part in parts]),
        )


@dataclass(frozen=True)
class MuleScores:
    """How well one model finds mules; None where it cannot be measured.

    Attributes
    ----------
    payments : float or None
        AUPRC of the payments that bring stolen money among all that arrive.
    accounts : float or None
        AUPRC of mules' accounts among all, by each account's highest score before the bank's first
        report of it. Accounts that were reported before have no part in it.
    """

    payments: float | None
    accounts: float | None


@dataclass(frozen=True)
class MuleFacts:
    """What a demo says of mules.

    Attributes
    ----------
    stolen_payments, payments : int
        Payments of the test rows: those that bring stolen money, and all.
    mule_accounts, accounts : int
        Accounts that are paid in the test rows before any report: mules', and all.
    banks : mapping of str to (mapping of str to MuleScores)
        By bank, then by model.
    mean : mapping of str to MuleScores
        By model: over the banks where every model could be measured.
    all_rows : mapping of str to MuleScores
        Of the models that all banks have in common, on the arrivals of all banks together.
    """

    stolen_payments: int
    payments: int
    mule_accounts: int
    accounts: int
    banks: Mapping[str, Mapping[str, MuleScores]]
    mean: Mapping[str, MuleScores]
    all_rows: Mapping[str, MuleScores]


def measure_mules(
    truths: Mapping[str, ArrivalTruth], scores: Mapping[str, Sequence[Float32Array | None]]
) -> MuleFacts:
    """Measure every model.

    Parameters
    ----------
    truths : mapping of str to ArrivalTruth
        By bank, of its test rows.
    scores : mapping of str to sequence of ndarray of shape (n_test_rows,), dtype=float32
        By model, for each bank in the order of ``truths``; None where a bank has no such model.
    """
    banks = {
        name: {model: _measured(truth, found[index]) for model, found in scores.items()}
        for index, (name, truth) in enumerate(truths.items())
    }
    together = ArrivalTruth.join(list(truths.values()))
    all_rows = {}
    for model, found in scores.items():
        there = [part for part in found if part is not None]
        # A bank's own model has no part in what all have in common.
        if len(there) == len(found) and not model.startswith("local"):
            all_rows[model] = _measured(together, np.concatenate(there))
    labels = _by_account(together, np.zeros(together.is_mule.size, dtype=np.float32))[1]
    return MuleFacts(
        stolen_payments=int(together.is_stolen.sum()),
        payments=int(together.is_stolen.size),
        mule_accounts=int(labels.sum()),
        accounts=int(labels.size),
        banks=banks,
        mean={model: _mean(banks, model) for model in scores},
        all_rows=all_rows,
    )


def _measured(truth: ArrivalTruth, scores: Float32Array | None) -> MuleScores:
    if scores is None:
        return MuleScores(payments=None, accounts=None)
    highest, labels = _by_account(truth, scores)
    return MuleScores(payments=auprc(scores, truth.is_stolen), accounts=auprc(highest, labels))


def _by_account(truth: ArrivalTruth, scores: Float32Array) -> tuple[Float32Array, BoolArray]:
    """Return highest score and truth of each account, of its payments before the first report."""
    rows = np.flatnonzero(truth.is_unreported)
    codes, accounts = pd.factorize(truth.account[rows])
    highest = np.zeros(len(accounts), dtype=np.float32)
    np.maximum.at(highest, codes, scores[rows])
    is_mule = np.zeros(len(accounts), dtype=np.bool_)
    is_mule[codes] = truth.is_mule[rows]
    return highest, is_mule


def _mean(banks: Mapping[str, Mapping[str, MuleScores]], model: str) -> MuleScores:
    def mean(metric: str) -> float | None:
        measured = [
            getattr(models[model], metric)
            for models in banks.values()
            if all(getattr(found, metric) is not None for found in models.values())
        ]
        return float(np.mean(measured)) if measured else None

    return MuleScores(payments=mean("payments"), accounts=mean("accounts"))


def mule_rows(facts: MuleFacts) -> list[tuple[str, str, Mapping[str, float | None]]]:
    """Return what tables show: what is found, over what, and the AUPRC by model."""
    return [
        (title, over, {model: getattr(found, metric) for model, found in scores.items()})
        for title, metric in (("stolen money", "payments"), ("mule accounts", "accounts"))
        for over, scores in (("mean", facts.mean), ("all banks", facts.all_rows))
    ]


def format_mules(facts: MuleFacts, models: Mapping[str, str]) -> Table:
    """Return a table for the terminal.

    Parameters
    ----------
    models : mapping of str to str
        Models in the order of the columns, with what to call them.
    """
    table = Table(
        title="AUPRC of what is true, reported or not, by model",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
    )
    table.add_column("finds")
    table.add_column("over")
    for heading in models.values():
        table.add_column(heading.replace(" + ", "\n+ "), justify="right")
    for title, over, found in mule_rows(facts):
        cells = (found.get(model) for model in models)
        table.add_row(title, over, *("-" if cell is None else f"{cell:.3f}" for cell in cells))
    return table
