"""Random small tables of both directions, and every inbound feature computed the obvious way."""

import math
from typing import Any

import numpy as np
import pandas as pd

from oracles.features import DAY, HOUR, START, TEXT_COLUMNS, reported, risk_of, table

TEXTS = (*TEXT_COLUMNS, "direction", "payer_id")


def flows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Transactions from dictionaries; what a row leaves out is an incoming transfer."""
    base = {"direction": "inbound", "channel": "transfer", "payee_id": "a1", "payer_id": "a9"}
    frame = table({**base, "merchant_category": None, **row} for row in rows)
    return frame.astype(dict.fromkeys(TEXTS, "string"))


def random_flows(rng: np.random.Generator, n_rows: int, *, days: int = 100) -> pd.DataFrame:
    """Few customers and accounts and coarse times, so that ties and window edges all occur."""
    grid = HOUR * int(rng.choice([1, 3, 8]))
    time = START + rng.integers(0, max(days * DAY // grid, 1), n_rows) * grid
    if rng.random() < 0.5:
        # Bursts: money that leaves within hours.
        time = START + np.cumsum(rng.choice([0, 1, HOUR, 6 * HOUR, DAY, 9 * DAY], n_rows))
    time += rng.integers(0, 3, n_rows) - 1
    fraud = rng.random(n_rows) < 0.3
    known = time + np.where(fraud, rng.integers(0, 20, n_rows) * DAY, 7 * DAY)

    def account() -> str | None:
        return None if rng.random() < 0.1 else f"a{rng.integers(0, 5)}"

    rows = [
        {
            "transaction_id": f"t{i:05d}",
            "event_time": int(time[i]),
            "label_time": int(known[i]),
            "customer_id": f"c{rng.integers(0, 3)}",
            "direction": "inbound" if inbound else "outbound",
            "payee_id": account(),
            "payer_id": account() if inbound or rng.random() < 0.2 else None,
            "channel": "transfer" if inbound else str(rng.choice(["transfer", "atm", "pos"])),
            "amount_minor": int(rng.integers(0, 9)) * 10 ** int(rng.integers(0, 8)),
            "is_fraud": int(fraud[i]),
        }
        for i, inbound in enumerate(rng.random(n_rows) < 0.6)
    ]
    return flows(rows)


def slow_inbound_features(frame: pd.DataFrame, *, delay: int) -> pd.DataFrame:
    """Every feature of the inbound rows by a double loop over Python objects, float64."""
    objects = frame.copy()
    for name in (name for name in TEXTS if name in frame.columns):
        objects[name] = frame[name].astype(object).where(frame[name].notna(), None)
    records = objects.to_dict("records")
    return pd.DataFrame(
        [
            _slow_row(row, [r for r in records if r["event_time"] < row["event_time"]], delay)
            for row in records
            if row["direction"] == "inbound"
        ]
    )


def _slow_row(row: dict[str, Any], past: list[dict[str, Any]], delay: int) -> dict[str, float]:
    now, amount, nan = row["event_time"], row["amount_minor"], math.nan
    payee, payer = row["payee_id"], row["payer_id"]
    stamp = pd.Timestamp(now, unit="s")
    own = [p for p in past if p["customer_id"] == row["customer_id"]]
    came = [p for p in past if p["direction"] == "inbound"]
    credits = [p for p in own if p["direction"] == "inbound"]
    out = [p for p in own if p["direction"] == "outbound" and p["channel"] in ("transfer", "atm")]

    def since(rows: list[dict[str, Any]]) -> float:
        return now - max((p["event_time"] for p in rows), default=nan)

    def age(rows: list[dict[str, Any]]) -> float:
        return now - min((p["event_time"] for p in rows), default=now)

    def last(rows: list[dict[str, Any]], days: int) -> list[dict[str, Any]]:
        return [p for p in rows if p["event_time"] >= now - days * DAY]

    zeros = len(str(amount)) - len(str(amount).rstrip("0"))
    result: dict[str, float] = {
        "amount": amount,
        "hour_of_day": stamp.hour + stamp.minute / 60 + stamp.second / 3600,
        "is_night": stamp.hour < 6,
        "is_weekend": stamp.weekday() in (5, 6),
        "amount_zeros": 6 if amount == 0 else min(zeros, 6),
        "customer_age_seconds": age(own),
        "account_age_seconds": (
            age([p for p in came if p["payee_id"] == payee]) if payee is not None else nan
        ),
        "seconds_since_activity": since(own),
        "seconds_since_credit": since(credits),
        "seconds_since_outflow": since(out),
        "new_payer": (
            nan if payer is None else float(all(p["payer_id"] != payer for p in credits))
        ),
        "seconds_to_outflow": nan,
    }
    for days in (1, 7, 30):
        amounts = [p["amount_minor"] for p in last(credits, days)]
        left = [p["amount_minor"] for p in last(out, days)]
        mean = sum(amounts) / len(amounts) if amounts else nan
        result[f"credit_count_{days}d"] = len(amounts)
        result[f"credit_mean_amount_{days}d"] = mean
        result[f"credit_payers_{days}d"] = len(
            {p["payer_id"] for p in last(credits, days)} - {None}
        )
        result[f"outflow_count_{days}d"] = len(left)
        result[f"out_over_in_{days}d"] = sum(left) / sum(amounts) if sum(amounts) else nan
    result["amount_over_credit_mean_30d"] = amount / mean if mean and mean == mean else nan
    for days in (7, 30):
        paid = {p["customer_id"] for p in last(came, days) if p["payer_id"] == payer}
        result[f"payer_customers_{days}d"] = nan if payer is None else len(paid)
    if credits:
        latest = max(p["event_time"] for p in credits)
        after = [p["event_time"] for p in out if p["event_time"] > latest]
        if after:
            result["seconds_to_outflow"] = min(after) - latest
    for hours in (1, 6, 24):
        stop = now - hours * HOUR
        money = passed = 0
        for credit in credits:
            arrived = credit["event_time"]
            if stop - 30 * DAY <= arrived < stop:
                gone = sum(
                    p["amount_minor"] for p in out if 0 < p["event_time"] - arrived <= hours * HOUR
                )
                money += credit["amount_minor"]
                passed += min(gone, credit["amount_minor"])
        result[f"passed_on_{hours}h"] = passed / money if money else nan
    for name, which in (("payee", payee), ("payer", payer)):
        for days in (1, 7, 30):
            found = [p for p in came if p[f"{name}_id"] == which]
            result.update(_slow_risk(name, which, found, now, days, delay))
    paid_out = [p for p in past if p["direction"] == "outbound"]
    result["payer_reported_30d"] = (
        nan
        if payer is None
        else reported([p for p in paid_out if p["payee_id"] == payer], now, 30, delay)
    )
    result["customer_reported_30d"] = reported(
        [p for p in own if p["direction"] == "outbound"], now, 30, delay
    )
    return result


def _slow_risk(
    name: str, which: str | None, found: list[dict[str, Any]], now: int, days: int, delay: int
) -> dict[str, float]:
    stop = now - delay * DAY
    count = sum(stop - days * DAY <= p["event_time"] < stop for p in found)
    return risk_of(name, days, None if which is None else count, reported(found, now, days, delay))
