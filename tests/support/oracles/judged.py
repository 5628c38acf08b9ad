"""Judged payments of several banks, and every pooled metric of them by a naive program.

The program looks at one table of all banks' rows and their exact scores, one threshold after the
other; it knows no cells, no histograms and no sums.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.readings import Reading

_DAY = 86_400
#: From all rows in one cell to scores far beyond the grid.
_SPREADS = (0.0, 0.002, 0.3, 3.0, 30.0)


@dataclass(frozen=True)
class JudgedBank:
    """One bank's rows."""

    margins: np.ndarray
    outcomes: Outcomes


def make_banks(seed: int, n_banks: int, *, n_rows: int = 400) -> list[JudgedBank]:
    """Return banks with rows of every kind: blocked, censored, without a card, tied."""
    rng = np.random.default_rng(seed)
    banks = []
    spread, ties = rng.choice(_SPREADS), rng.choice([0.0, 1.0, 64.0])
    fraud_share, blocked_share = rng.choice([0.05, 0.4]), rng.choice([0.0, 0.2])
    for bank in range(n_banks):
        # One bank may be empty, another one has most rows.
        n = int(rng.choice([0, n_rows // n_banks, 2 * n_rows // n_banks])) if bank else n_rows
        labels = (rng.random(n) < fraud_share).astype(np.float32)
        if bank == 0:
            labels[:2] = (0.0, 1.0)
        blocked = rng.random(n) < blocked_share
        blocked[:2] = False
        margins = rng.choice([-6.9, 0.0, 15.9]) + spread * (rng.normal(size=n) + 2 * labels)
        if ties:
            margins = np.round(margins * ties) / ties
        labels = np.where(blocked & (labels == 0), np.float32(np.nan), labels)
        kinds = np.where(labels == 1, rng.integers(0, 3, n), -1)
        banks.append(
            JudgedBank(
                margins.astype(np.float32),
                Outcomes(
                    labels=labels,
                    is_blocked=blocked,
                    event_time=rng.integers(0, 90 * _DAY, n),
                    amounts=rng.integers(0, 50_000, n),
                    customers=rng.integers(-1, max(n // 6, 1), n),
                    cards=rng.integers(-1, max(n // 4, 1), n),
                    accounts=rng.integers(-1, max(n // 5, 1), n),
                    is_first_seen=rng.random(n) < 0.5,
                    cells={"channel": rng.integers(-1, 4, n), "fraud_kind": kinds},
                ),
            )
        )
    return banks


def pooled(banks: list[JudgedBank]) -> pd.DataFrame:
    """Return one table of all rows; names of different banks differ."""
    frames = []
    for number, bank in enumerate(banks):
        of = bank.outcomes
        frame = pd.DataFrame(
            {
                "bank": number,
                "margin": bank.margins,
                "label": of.labels,
                "blocked": of.is_blocked,
                "time": of.event_time,
                "amount": of.amounts,
                "customer": of.customers,
                "card": of.cards,
                "first_seen": of.is_first_seen,
                "channel": of.cells["channel"],
                "fraud_kind": of.cells["fraud_kind"],
            }
        )
        frame["account"] = [
            f"{number} payee {payee}"
            if payee >= 0
            else f"{number} card {card}"
            if card >= 0
            else f"{number} customer {customer}"
            if customer >= 0
            else None
            for payee, card, customer in zip(of.accounts, of.cards, of.customers, strict=True)
        ]
        frame["listed"] = [
            f"card {card}" if card >= 0 else f"customer {customer}" if customer >= 0 else None
            for card, customer in zip(of.cards, of.customers, strict=True)
        ]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def read(rows: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """Return the rows that a reading has labels for, with these labels and the number of a case."""
    if reading is Reading.UNBLOCKED:
        rows = rows[~rows["blocked"]]
    guess = {Reading.CENSORED_CLEAN: 0.0, Reading.CENSORED_FRAUD: 1.0}.get(reading)
    if guess is not None:
        rows = rows.assign(label=rows["label"].fillna(guess))
    rows = rows[rows["label"].notna()]
    return rows.assign(case=_cases(rows))


def _cases(rows: pd.DataFrame) -> pd.Series:
    case = pd.Series(-1, index=rows.index)
    number = 0
    frauds = rows[rows["label"] == 1]
    for (_, customer), of_customer in frauds.groupby(["bank", "customer"]):
        first = None
        for row, at in of_customer["time"].sort_values(kind="stable").items():
            if customer < 0 or first is None or at > first + 30 * _DAY:
                first, number = at, number + 1
            case[row] = number
    return case


@dataclass(frozen=True)
class Found:
    """What alerts from some score on find."""

    precision: float | None
    cases: float
    first_seen_cases: float | None
    value: float | None
    case_value: float | None
    saved_from: float | None
    saved_after: float | None


def found(rows: pd.DataFrame, threshold: float) -> Found:
    """Look at every case, payment by payment."""
    alerted = rows["margin"] >= threshold
    frauds = rows[rows["label"] == 1]
    total = frauds["amount"].sum()
    n_found = n_first = n_first_found = 0
    case_value = saved_from = saved_after = 0
    for _, case in frauds.groupby("case"):
        payments = case.sort_values("time", kind="stable")
        n_first += payments["first_seen"].iloc[0]
        hit = np.flatnonzero(alerted[payments.index])
        if hit.size:
            n_found += 1
            n_first_found += payments["first_seen"].iloc[0]
            case_value += payments["amount"].sum()
            saved_from += payments["amount"].iloc[hit[0] :].sum()
            saved_after += payments["amount"].iloc[hit[0] + 1 :].sum()
    n_cases = frauds["case"].nunique()

    def of_total(part: float) -> float | None:
        return part / total if total else None

    return Found(
        precision=rows["label"][alerted].astype(np.float64).mean() if alerted.any() else None,
        cases=n_found / n_cases,
        first_seen_cases=n_first_found / n_first if n_first else None,
        value=of_total(frauds["amount"][alerted[frauds.index]].sum()),
        case_value=of_total(case_value),
        saved_from=of_total(saved_from),
        saved_after=of_total(saved_after),
    )


def _alerts(rows: pd.DataFrame, of: pd.Series | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return every threshold, strictest first, and whether each row is alerted on from there."""
    thresholds = np.sort(rows["margin"].unique())[::-1]
    return thresholds, (rows["margin"] if of is None else of).to_numpy() >= thresholds[:, None]


def _loosest(thresholds: np.ndarray, is_kept: np.ndarray) -> float:
    return float(min(thresholds[is_kept], default=np.inf))


def budget_threshold(rows: pd.DataFrame, n_alerts: int) -> float:
    """Return the loosest threshold with at most so many alerts."""
    thresholds, alerted = _alerts(rows)
    return _loosest(thresholds, alerted.sum(axis=1) <= n_alerts)


def rate_threshold(rows: pd.DataFrame, rate: float) -> float:
    """Return the loosest threshold that alerts on at most a share of the clean rows."""
    thresholds, alerted = _alerts(rows)
    return _loosest(thresholds, alerted[:, rows["label"] == 0].mean(axis=1) <= rate)


def ratio_threshold(rows: pd.DataFrame, ratio: int) -> tuple[float, float | None]:
    """Return the loosest threshold within a ratio of accounts, and the share of them found."""
    accounts = rows.dropna(subset=["account"]).groupby("account")
    highest, fraudulent = accounts["margin"].max(), (accounts["label"].max() == 1).to_numpy()
    thresholds, alerted = _alerts(rows, highest)
    true, false = alerted[:, fraudulent].sum(axis=1), alerted[:, ~fraudulent].sum(axis=1)
    best = _loosest(thresholds, false <= ratio * true)
    return best, float((highest[fraudulent] >= best).mean()) if fraudulent.any() else None


def ranking(rows: pd.DataFrame) -> dict[str, float]:
    """Return scikit-learn's metrics of all rows."""
    labels, margins = rows["label"], rows["margin"]
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-margins.astype(np.float64)))
    return {
        "auprc": average_precision_score(labels, margins),
        "auc": roc_auc_score(labels, margins),
        "brier": brier_score_loss(labels, probability),
    }


def card_lists(rows: pd.DataFrame, k: int) -> tuple[int, int, int]:
    """Return days, hits and attainable hits of each bank's daily lists of k cards."""
    n_days = hits = attainable = 0
    for _, of_bank in rows.dropna(subset=["listed"]).groupby("bank"):
        blocked: set[str] = set()
        for _, day in of_bank.groupby(of_bank["time"] // _DAY):
            n_days += 1
            cards = day[~day["listed"].isin(blocked)].groupby("listed")
            table = pd.DataFrame({"margin": cards["margin"].max(), "fraud": cards["label"].max()})
            table = table.sort_values(["margin", "fraud"], ascending=[False, True])
            caught = table.head(k)[table.head(k)["fraud"] == 1]
            hits += len(caught)
            attainable += min(k, int((table["fraud"] == 1).sum()))
            blocked |= set(caught.index)
    return n_days, hits, attainable


def in_another_order(bank: JudgedBank, seed: int) -> JudgedBank:
    """Return a bank's rows in another order, with other times where two are equal kept apart."""
    order = np.random.default_rng(seed).permutation(bank.outcomes.n_rows)
    return replace(bank, margins=bank.margins[order], outcomes=bank.outcomes.take(order))
