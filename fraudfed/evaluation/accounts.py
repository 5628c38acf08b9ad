"""Accounts that fraud runs through, and how many of them a model finds; within one bank.

The account of a payment is the one that is paid where the bank names it, else the payer's card,
else its customer. An account is fraudulent if one of its payments is; it is alerted on if one of
them is. Two banks that pay one account count it twice, as both have to stop it.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.evaluation.outcomes import Outcomes


def account_codes(outcomes: Outcomes) -> Int64Array:
    """Return a code for the account of each payment, from 0; -1 for none.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=int64
    """
    codes = np.full(outcomes.n_rows, -1, dtype=np.int64)
    n_codes = 0
    for of in (outcomes.accounts, outcomes.cards, outcomes.customers):
        if of is None or not of.size:
            continue
        codes = np.where((codes < 0) & (of >= 0), n_codes + of, codes)
        n_codes += int(of.max()) + 1
    return codes


@dataclass(frozen=True, eq=False)
class Accounts:
    """The accounts of a bank under some labels.

    Attributes
    ----------
    cells : ndarray of shape (n_accounts,), dtype=int64
        The highest cell that a payment of each account is in.
    is_fraudulent : ndarray of shape (n_accounts,), dtype=int64
        1 if one of its payments is fraud, else 0.
    """

    cells: Int64Array
    is_fraudulent: Int64Array

    @classmethod
    def of(cls, codes: Int64Array, labels: Float32Array, cells: Int64Array) -> "Accounts":
        """Gather payments by account.

        Parameters
        ----------
        codes, cells : ndarray of shape (n_rows,), dtype=int64
            Of ``account_codes``; rows without an account are left out.
        labels : ndarray of shape (n_rows,), dtype=float32
            Rows without a label are left out.
        """
        held = np.flatnonzero((codes >= 0) & ~np.isnan(labels))
        names, number = np.unique(codes[held], return_inverse=True)
        highest = np.zeros(names.size, dtype=np.int64)
        np.maximum.at(highest, number, cells[held])
        fraudulent = np.zeros(names.size, dtype=np.int64)
        np.maximum.at(fraudulent, number, (labels[held] == 1).astype(np.int64))
        return cls(highest, fraudulent)

    @property
    def n_clean(self) -> int:
        """Accounts without fraud."""
        return int(self.is_fraudulent.size) - self.n_fraudulent

    @property
    def n_fraudulent(self) -> int:
        """Accounts with fraud."""
        return int(self.is_fraudulent.sum())
