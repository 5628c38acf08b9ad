"""Small tables in the shape of published data sets, of made-up rows."""

import numpy as np
import pandas as pd


def handbook_rows(n_rows: int = 300, *, seed: int = 1, days: int = 80) -> pd.DataFrame:
    """Card payments as the Fraud Detection Handbook names them."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, days * 86400, n_rows))
    return pd.DataFrame(
        {
            "TRANSACTION_ID": np.arange(n_rows),
            "TX_DATETIME": pd.Timestamp("2018-04-01") + pd.to_timedelta(seconds, unit="s"),
            "CUSTOMER_ID": rng.integers(0, 20, n_rows),
            "TERMINAL_ID": rng.integers(0, 10, n_rows),
            "TX_AMOUNT": np.round(rng.exponential(50, n_rows), 2),
            "TX_TIME_SECONDS": seconds,
            "TX_TIME_DAYS": seconds // 86400,
            "TX_FRAUD": (rng.random(n_rows) < 0.1).astype(np.int64),
            "TX_FRAUD_SCENARIO": 0,
        }
    )


def sparkov_rows(n_rows: int = 300, *, seed: int = 2) -> pd.DataFrame:
    """Card payments as the Sparkov generator names them."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, 60 * 86400, n_rows))
    times = pd.Timestamp("2019-01-01") + pd.to_timedelta(seconds, unit="s")
    categories = (
        "entertainment food_dining gas_transport grocery_net grocery_pos health_fitness home "
        "kids_pets misc_net misc_pos personal_care shopping_net shopping_pos travel"
    )
    return pd.DataFrame(
        {
            "trans_date_trans_time": times.strftime("%Y-%m-%d %H:%M:%S"),
            "cc_num": rng.integers(4_000_000_000_000_000, 4_000_000_000_000_020, n_rows),
            "merchant": [f"fraud_Shop, {number}" for number in rng.integers(0, 9, n_rows)],
            "category": rng.choice(categories.split(), n_rows),
            "amt": np.round(rng.exponential(70, n_rows), 2),
            "first": "A",
            "last": "B",
            "gender": "F",
            "street": "1 Road",
            "city": "Town",
            "state": "XX",
            "zip": 12345,
            "lat": 36.0,
            "long": -81.0,
            "city_pop": 3495,
            "job": "Baker",
            "dob": "1988-03-09",
            "trans_num": [f"{number:032x}" for number in range(n_rows)],
            "unix_time": seconds + 1_325_376_000,
            "merch_lat": np.round(rng.uniform(35, 37, n_rows), 6),
            "merch_long": np.round(rng.uniform(-82, -80, n_rows), 6),
            "is_fraud": (rng.random(n_rows) < 0.1).astype(np.int64),
        }
    )


def paysim_rows(n_rows: int = 300, *, seed: int = 3) -> pd.DataFrame:
    """Mobile money as PaySim names it."""
    rng = np.random.default_rng(seed)
    kinds = np.array(["CASH_IN", "CASH_OUT", "DEBIT", "PAYMENT", "TRANSFER"])
    kind = rng.choice(kinds, n_rows)
    receiver = rng.integers(0, 15, n_rows)
    return pd.DataFrame(
        {
            "step": np.sort(rng.integers(1, 744, n_rows)),
            "type": kind,
            "amount": np.where(rng.random(n_rows) < 0.1, 0, np.round(rng.exponential(9e3), 2)),
            "nameOrig": [f"C{number}" for number in rng.integers(100, 130, n_rows)],
            "oldbalanceOrg": 0.0,
            "newbalanceOrig": 0.0,
            "nameDest": [
                f"{'M' if what == 'PAYMENT' else 'C'}{number}"
                for what, number in zip(kind, receiver, strict=True)
            ],
            "oldbalanceDest": 0.0,
            "newbalanceDest": 0.0,
            "isFraud": (rng.random(n_rows) < 0.1).astype(np.int64),
            "isFlaggedFraud": 0,
        }
    )
