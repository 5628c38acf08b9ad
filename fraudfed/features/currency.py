"""Amounts of several currencies in the one currency of a contract, exactly and alike everywhere.

Law: an amount becomes ``floor(amount * rate * 10**(to - from) + 1/2)``, where ``from`` and ``to``
are the decimals of the two currencies (ISO 4217) and the rate is the decimal number that the
contract gives for the payment's UTC day. All of it is integer arithmetic, so every bank gets the
same minor units. Halves are rounded up, as Council Regulation (EC) No 1103/97, article 5, has it
for conversions.
"""

from bisect import bisect_right
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import pandas as pd

from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.payment import Payment
from fraudfed.payments.columns import MAX_AMOUNT_MINOR
from fraudfed.payments.currencies import EXPONENTS
from fraudfed.wire.messages import Currency

#: Kind of fault, column, rows that have it, what was expected and what to do.
Refuse: TypeAlias = Callable[[str, str, BoolArray, str, str], None]

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_ADVICE = "the operator must publish a run with that rate, or leave the rows out"


class AmountConverter:
    """Converts amounts by the rates of a contract.

    Parameters
    ----------
    currency : Currency
    """

    def __init__(self, currency: Currency) -> None:
        self.code = currency.code
        self._days: dict[str, list[int]] = {}
        self._ratios: dict[str, list[Fraction]] = {}
        for code, rates in currency.rates.items():
            # Of minor units to minor units.
            scale = Fraction(10) ** (EXPONENTS[currency.code] - EXPONENTS[code])
            days = sorted(rates)
            self._days[code] = [date.fromisoformat(day).toordinal() - _EPOCH_DAY for day in days]
            self._ratios[code] = [Fraction(rates[day]) * scale for day in days]

    @property
    def known(self) -> tuple[str, ...]:
        """The currencies that it converts, its own first."""
        return (self.code, *sorted(self._ratios))

    def minor(self, amount_minor: int, code: str, event_time: int) -> int | None:
        """Return one amount in minor units of the contract's currency, None without a rate.

        Parameters
        ----------
        amount_minor : int
            In minor units of its own currency.
        code : str
            ISO 4217.
        event_time : int
            UTC epoch seconds.
        """
        if code == self.code:
            return amount_minor
        if code not in self._ratios:
            return None
        index = bisect_right(self._days[code], event_time // SECONDS_PER_DAY) - 1
        return None if index < 0 else _half_up(amount_minor, self._ratios[code][index])

    def column(
        self, amounts: Int64Array, codes: "pd.Series[str]", event_time: Int64Array, refuse: Refuse
    ) -> Int64Array:
        """Return a column of amounts in minor units of the contract's currency.

        Parameters
        ----------
        amounts : ndarray of shape (n_rows,), dtype=int64
            In minor units of their own currencies.
        codes : Series of shape (n_rows,)
            ISO 4217.
        event_time : ndarray of shape (n_rows,), dtype=int64
            UTC epoch seconds.
        refuse : callable
            Called with what is wrong of which rows; those keep some amount.

        Returns
        -------
        ndarray of shape (n_rows,), dtype=int64
        """
        result = amounts.copy()
        without = np.zeros(len(amounts), dtype=np.bool_)
        numbers, found = pd.factorize(codes)
        early: list[tuple[str, BoolArray]] = []
        for number, code in enumerate(found):
            if code == self.code:
                continue
            rows = np.flatnonzero(numbers == number)
            if code not in self._ratios:
                without[rows] = True
                continue
            days = np.array(self._days[code], dtype=np.int64)
            index = np.searchsorted(days, event_time[rows] // SECONDS_PER_DAY, side="right") - 1
            before = np.zeros(len(amounts), dtype=np.bool_)
            before[rows[index < 0]] = True
            early.append((code, before))
            for which in np.unique(index[index >= 0]).tolist():
                chosen = rows[index == which]
                result[chosen] = _half_up_column(amounts[chosen], self._ratios[code][which])
        known = f"a currency that the contract has rates of ({', '.join(self.known)})"
        refuse("currency_without_rate", "currency", without, known, _ADVICE)
        for code, before in early:
            first = date.fromordinal(self._days[code][0] + _EPOCH_DAY).isoformat()
            day = f"a payment on {first} or later, the first day with a rate of {code}"
            refuse("no_rate_yet", "event_time", before, day, _ADVICE)
        too_large = result > MAX_AMOUNT_MINOR
        limit = f"at most {MAX_AMOUNT_MINOR} minor units of {self.code} after conversion"
        refuse("amount_too_large", "amount_minor", too_large, limit, "mend the value or the rate")
        return result


def in_currency(
    transactions: pd.DataFrame, currency: Currency | None, refuse: Refuse | None = None
) -> pd.DataFrame:
    """Return transactions whose amounts are all in the contract's currency.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions that ``check_transactions`` accepts. Without a column ``currency`` the
        amounts are in the contract's currency already.
    currency : Currency or None
        None leaves the amounts as they are.
    refuse : callable or None
        As for ``AmountConverter.column``; None raises.

    Returns
    -------
    DataFrame
        The same rows without the column ``currency``.

    Raises
    ------
    DataError
        If a payment has a currency without a rate, or is before the first rate, or its amount
        becomes too large.
    """
    if "currency" not in transactions.columns:
        return transactions
    rest = transactions.drop(columns="currency")
    if currency is None:
        return rest
    amounts = AmountConverter(currency).column(
        transactions["amount_minor"].to_numpy(dtype=np.int64),
        transactions["currency"],
        transactions["event_time"].to_numpy(dtype=np.int64),
        _raising(transactions) if refuse is None else refuse,
    )
    return rest.assign(amount_minor=amounts)


def payment_in_currency(payment: Payment, converter: AmountConverter | None) -> Payment:
    """Return a payment whose amount is in the contract's currency.

    Raises
    ------
    DataError
        As ``in_currency``.
    """
    if payment.currency is None or converter is None or payment.currency == converter.code:
        return payment
    amount = converter.minor(payment.amount_minor, payment.currency, payment.event_time)
    if amount is None or amount > MAX_AMOUNT_MINOR:
        why = "has no rate" if amount is None else f"becomes {amount} minor units, too large"
        raise DataError(
            f"transaction {payment.transaction_id!r}: amount of {payment.amount_minor} minor units "
            f"of {payment.currency} at {payment.event_time} {why}, expected a rate to "
            f"{converter.code} of that day and an amount of at most {MAX_AMOUNT_MINOR}; {_ADVICE}"
        )
    return payment.with_amount(amount, currency=converter.code)


def _raising(transactions: pd.DataFrame) -> Refuse:
    def refuse(_kind: str, column: str, bad: BoolArray, expected: str, advice: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"transactions: row {row + 1}, column {column!r}: got "
                f"{transactions[column].iloc[row]!s}, expected {expected}; {advice}"
            )

    return refuse


def _half_up(amount: int, ratio: Fraction) -> int:
    numerator, denominator = ratio.numerator, ratio.denominator
    return (2 * amount * numerator + denominator) // (2 * denominator)


def _half_up_column(amounts: Int64Array, ratio: Fraction) -> Int64Array:
    """Do the same for many: in int64 where that holds, else in Python's whole numbers."""
    # At least 1: beside amounts of 0 the factor itself may be too large.
    largest = max(int(amounts.max()), 1)
    numerator, denominator = ratio.numerator, ratio.denominator
    if 2 * largest * numerator + denominator < 1 << 63 and 2 * denominator < 1 << 63:
        converted: Int64Array = (2 * amounts * numerator + denominator) // (2 * denominator)
        return converted
    most = MAX_AMOUNT_MINOR + 1
    exact = [min(_half_up(amount, ratio), most) for amount in amounts.tolist()]
    return np.array(exact, dtype=np.int64)
