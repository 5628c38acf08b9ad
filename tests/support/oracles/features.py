"""Random small transaction tables, and every feature computed the slow, obvious way."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

DAY = 86400
HOUR = 3600
#: Thursday 2023-06-01 00:00:00 UTC.
START = 1_685_577_600

TEXT_COLUMNS = (
    "transaction_id",
    "customer_id",
    "merchant_id",
    "terminal_id",
    "payee_id",
    "device_id",
    "channel",
    "merchant_category",
)


def table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Transactions from dictionaries; what a row leaves out is a plain clean card payment."""
    filled = []
    for number, row in enumerate(rows):
        base: dict[str, Any] = {
            "transaction_id": f"t{number:04d}",
            "event_time": START,
            "customer_id": "c1",
            "merchant_id": None,
            "terminal_id": None,
            "payee_id": None,
            "device_id": None,
            "channel": "ecommerce",
            "merchant_category": "grocery",
            "amount_minor": 1000,
            "latitude": math.nan,
            "longitude": math.nan,
            "is_fraud": 0,
        }
        base.update(row)
        base.setdefault("label_time", base["event_time"])
        filled.append(base)
    frame = pd.DataFrame(filled)
    # "string" keeps a missing value missing in every pandas release; "str" does so from 3 on.
    return frame.astype(dict.fromkeys(TEXT_COLUMNS, "string"))


def random_table(rng: np.random.Generator, n_rows: int, *, days: int = 100) -> pd.DataFrame:
    """Few keys and coarse times, so that ties, repeats and window edges all occur."""

    def maybe(prefix: str, n_keys: int, share: float) -> list[str | None]:
        keys, there = rng.integers(0, n_keys, n_rows), rng.random(n_rows) < share
        return [f"{prefix}{key}" if yes else None for key, yes in zip(keys, there, strict=True)]

    channel = rng.choice(["pos", "ecommerce", "transfer", "atm"], n_rows)
    grid = HOUR * 8
    time = START + rng.integers(0, days * DAY // grid, n_rows) * grid
    time += rng.integers(0, 3, n_rows) - 1
    fraud = rng.random(n_rows) < 0.3
    late = rng.integers(0, 20, n_rows)
    # Some are reported when no window holds the payment any more.
    known = time + np.where(fraud, np.where(late > 15, 5 * late, late) * DAY, 7 * DAY)
    latitude = np.where(rng.random(n_rows) < 0.6, rng.integers(-90, 91, n_rows), math.nan)
    return table(
        {
            "transaction_id": f"t{i:05d}",
            "event_time": int(time[i]),
            "label_time": int(known[i]),
            "customer_id": customer,
            "merchant_id": merchant,
            "terminal_id": terminal,
            "payee_id": payee,
            "device_id": device,
            "channel": str(channel[i]),
            "merchant_category": category,
            "amount_minor": int(rng.integers(1, 10**6)) if rng.random() < 0.7 else 0,
            "latitude": float(latitude[i]),
            "longitude": float(rng.integers(-180, 181)),
            "is_fraud": int(fraud[i]),
        }
        for i, (customer, merchant, terminal, payee, device, category) in enumerate(
            zip(
                maybe("c", 4, 1.0),
                maybe("m", 3, 0.9),
                maybe("e", 3, 0.5),
                maybe("p", 3, 0.5),
                maybe("d", 3, 0.5),
                rng.choice(np.array(["grocery", "fuel", None], dtype=object), n_rows),
                strict=True,
            )
        )
    )


def slow_features(frame: pd.DataFrame, *, delay: int) -> pd.DataFrame:
    """Every feature by a double loop over Python objects, float64; ``delay`` in days."""
    text = [name for name in TEXT_COLUMNS if name in frame.columns]
    objects = frame.copy()
    for name in text:
        objects[name] = frame[name].astype(object).where(frame[name].notna(), None)
    records = objects.to_dict("records")
    return pd.DataFrame(
        [_slow_row(row, [r for r in records if r["event_time"] < row["event_time"]], delay)
         for row in records]
    )  # fmt: skip


def _slow_row(row: dict[str, Any], past: list[dict[str, Any]], delay: int) -> dict[str, float]:
    now, nan = row["event_time"], math.nan
    stamp = pd.Timestamp(now, unit="s")
    own = [p for p in past if p["customer_id"] == row["customer_id"]]
    result: dict[str, float] = {
        "amount": row["amount_minor"],
        "hour_of_day": stamp.hour + stamp.minute / 60 + stamp.second / 3600,
        "is_night": stamp.hour < 6,
        "is_weekend": stamp.weekday() in (5, 6),
        "channel": ("pos", "ecommerce", "transfer", "atm").index(row["channel"]),
        "merchant_category": {"grocery": 0, "fuel": 1, None: nan}[row["merchant_category"]],
        "customer_seconds_since_previous": now - max(
            (p["event_time"] for p in own), default=nan
        ),
    }  # fmt: skip
    for days in (1, 7, 30):
        amounts = [p["amount_minor"] for p in own if p["event_time"] >= now - days * DAY]
        result[f"customer_count_{days}d"] = len(amounts)
        mean = sum(amounts) / len(amounts) if amounts else nan
        result[f"customer_mean_amount_{days}d"] = mean
    result["amount_over_customer_mean_30d"] = row["amount_minor"] / mean if mean else nan
    for what in ("payee", "device"):
        name = row[f"{what}_id"]
        first = min((p["event_time"] for p in own if p[f"{what}_id"] == name), default=now)
        result[f"new_{what}"] = nan if name is None else float(first == now)
        if what == "device":
            result["device_age_seconds"] = nan if name is None else now - first
    result["distance_km"], result["speed_kmh"] = _slow_travel(row, own)
    for days in (7, 30):
        result[f"payee_customers_{days}d"] = (
            nan
            if row["payee_id"] is None
            else len(
                {
                    p["customer_id"]
                    for p in past
                    if p["payee_id"] == row["payee_id"] and p["event_time"] >= now - days * DAY
                }
            )
        )
    for entity in ("terminal", "merchant", "payee"):
        for days in (1, 7, 30):
            result.update(_slow_risk(row, past, entity, days, delay))
    return result


def _slow_travel(row: dict[str, Any], own: list[dict[str, Any]]) -> tuple[float, float]:
    placed = [p for p in own if not math.isnan(p["latitude"]) and not math.isnan(p["longitude"])]
    if not placed or math.isnan(row["latitude"]) or math.isnan(row["longitude"]):
        return math.nan, math.nan
    before = max(placed, key=lambda p: (p["event_time"], p["transaction_id"]))

    def unit_vector(at: dict[str, Any]) -> np.ndarray[Any, Any]:
        phi, lam = math.radians(at["latitude"]), math.radians(at["longitude"])
        return np.array(
            [math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)]
        )

    a, b = unit_vector(before), unit_vector(row)
    angle = math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))
    distance = 6371.0088 * angle
    return distance, distance / ((row["event_time"] - before["event_time"]) / HOUR)


def _slow_risk(
    row: dict[str, Any], past: list[dict[str, Any]], entity: str, days: int, delay: int
) -> dict[str, float]:
    now, name = row["event_time"], row[f"{entity}_id"]
    stop = now - delay * DAY
    there = [p for p in past if p[f"{entity}_id"] == name]
    count = sum(stop - days * DAY <= p["event_time"] < stop for p in there)
    return risk_of(entity, days, None if name is None else count, reported(there, now, days, delay))


def reported(rows: list[dict[str, Any]], now: int, days: int, delay: int) -> int:
    """Frauds that were reported, or came of age, in the last days before a second."""
    return sum(
        p["is_fraud"] == 1
        and now - days * DAY <= max(p["label_time"], p["event_time"] + delay * DAY) < now
        for p in rows
    )


def risk_of(name: str, days: int, count: int | None, frauds: int) -> dict[str, float]:
    """Name count, frauds and rate; all of them missing without a count."""
    rate = math.nan if count is None else frauds / (max(count, frauds) + 10)
    return {
        f"{name}_count_{days}d": math.nan if count is None else count,
        f"{name}_fraud_count_{days}d": math.nan if count is None else frauds,
        f"{name}_fraud_rate_{days}d": rate,
    }
