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


#: Header of the files *_Trans.csv of IBM's data: one name twice.
IBM_AML_HEADER = (
    "Timestamp,From Bank,Account,To Bank,Account,Amount Received,Receiving Currency,Amount Paid,"
    "Payment Currency,Payment Format,Is Laundering"
)
_CURRENCIES = ("US Dollar", "Euro", "Yuan", "Bitcoin", "UK Pound")
_FORMATS = ("ACH", "Bitcoin", "Cash", "Cheque", "Credit Card", "Reinvestment", "Wire")


def ibm_aml_csv(n_rows: int = 300, *, seed: int = 4, days: int = 18) -> str:
    """Payments with laundering among them as IBM's generator writes them; the text of a file.

    The same accounts pay and are paid; those of a few launder.
    """
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.integers(0, days * 1440, n_rows))
    times = pd.Timestamp("2022-09-01") + pd.to_timedelta(minutes, unit="m")
    payer = rng.integers(0, 60, n_rows)
    payee = (payer + rng.integers(1, 60, n_rows)) % 60
    laundering = rng.random(n_rows) < np.where(payee < 6, 0.4, 0.02)
    lines = [IBM_AML_HEADER]
    for row in range(n_rows):
        currency = _CURRENCIES[int(rng.integers(len(_CURRENCIES)))]
        amount = f"{rng.lognormal(5 + 2 * laundering[row], 1):.2f}"
        form = _FORMATS[int(rng.integers(len(_FORMATS)))]
        lines.append(
            f"{times[row]:%Y/%m/%d %H:%M},{payer[row] % 4:03d},8{payer[row]:05X}A0,"
            f"{payee[row] % 4:03d},8{payee[row]:05X}A0,{amount},{currency},{amount},{currency},"
            f"{form},{int(laundering[row])}"
        )
    return "\n".join(lines) + "\n"


def baf_rows(n_rows: int = 600, *, seed: int = 5) -> pd.DataFrame:
    """Applications for an account in the columns of Bank Account Fraud's Base.csv."""
    rng = np.random.default_rng(seed)
    score = rng.integers(-150, 390, n_rows)
    device = rng.choice(["windows", "macintosh", "linux", "x11", "other"], n_rows)
    risk = -4 + 0.01 * score + 1.5 * (device == "windows")
    fraud = (rng.random(n_rows) < 1 / (1 + np.exp(-risk))).astype(np.int64)

    def flags() -> np.ndarray:
        return rng.integers(0, 2, n_rows)

    def numbers(least: int, most: int) -> np.ndarray:
        return rng.integers(least, most, n_rows)

    return pd.DataFrame(
        {
            "fraud_bool": fraud,
            "income": np.round(rng.uniform(0.1, 0.9, n_rows), 1),
            "name_email_similarity": rng.random(n_rows),
            "prev_address_months_count": numbers(-1, 300),
            "current_address_months_count": numbers(-1, 400),
            "customer_age": numbers(1, 9) * 10,
            "days_since_request": rng.exponential(1.0, n_rows),
            "intended_balcon_amount": rng.normal(8, 20, n_rows),
            "payment_type": rng.choice(["AA", "AB", "AC", "AD", "AE"], n_rows),
            "zip_count_4w": numbers(1, 6000),
            "velocity_6h": rng.uniform(-100, 16_000, n_rows),
            "velocity_24h": rng.uniform(1300, 9500, n_rows),
            "velocity_4w": rng.uniform(2800, 7000, n_rows),
            "bank_branch_count_8w": numbers(0, 2300),
            "date_of_birth_distinct_emails_4w": numbers(0, 40),
            "employment_status": rng.choice(["CA", "CB", "CC", "CD", "CE", "CF", "CG"], n_rows),
            "credit_risk_score": score,
            "email_is_free": flags(),
            "housing_status": rng.choice(["BA", "BB", "BC", "BD", "BE", "BF", "BG"], n_rows),
            "phone_home_valid": flags(),
            "phone_mobile_valid": flags(),
            "bank_months_count": numbers(-1, 32),
            "has_other_cards": flags(),
            "proposed_credit_limit": rng.choice([200.0, 500.0, 1500.0], n_rows),
            "foreign_request": flags(),
            "source": rng.choice(["INTERNET", "TELEAPP"], n_rows, p=[0.99, 0.01]),
            "session_length_in_minutes": rng.exponential(7, n_rows),
            "device_os": device,
            "keep_alive_session": flags(),
            "device_distinct_emails_8w": numbers(-1, 3),
            "device_fraud_count": 0,
            "month": numbers(0, 8),
        }
    )


def ulb_rows(n_rows: int = 600, *, seed: int = 6) -> pd.DataFrame:
    """Card payments in the columns of ULB's creditcard.csv; its writer quotes the class."""
    rng = np.random.default_rng(seed)
    components = rng.normal(size=(n_rows, 28))
    risk = -3 + 1.5 * components[:, 13]
    found = pd.DataFrame(components, columns=[f"V{number}" for number in range(1, 29)])
    found.insert(0, "Time", np.sort(rng.integers(0, 172_800, n_rows)))
    found["Amount"] = np.round(rng.exponential(88, n_rows), 2)
    found["Class"] = (rng.random(n_rows) < 1 / (1 + np.exp(-risk))).astype(int).astype(str)
    return found


def ieee_cis_rows(n_rows: int = 600, *, seed: int = 7) -> pd.DataFrame:
    """Card payments in the 394 columns of IEEE-CIS's train_transaction.csv, many cells empty."""
    rng = np.random.default_rng(seed)
    amount = np.round(rng.lognormal(4, 1, n_rows), 3)
    product = rng.choice(list("WHCSR"), n_rows)
    risk = -3 + 2.0 * (product == "C") + 0.005 * amount

    def sometimes(values: np.ndarray, share: float = 0.6) -> "pd.Series":
        return pd.Series(values).where(rng.random(n_rows) < share)

    columns: dict[str, object] = {
        "TransactionID": np.arange(2_987_000, 2_987_000 + n_rows),
        "isFraud": (rng.random(n_rows) < 1 / (1 + np.exp(-risk))).astype(int),
        "TransactionDT": np.sort(rng.integers(86_400, 15_811_131, n_rows)),
        "TransactionAmt": amount,
        "ProductCD": product,
        "card1": rng.integers(1000, 18_397, n_rows),
        "card2": sometimes(rng.integers(100, 601, n_rows), 0.98),
        "card3": sometimes(rng.choice([150, 185], n_rows), 0.99),
        "card4": sometimes(rng.choice(["visa", "mastercard", "discover"], n_rows), 0.99),
        "card5": sometimes(rng.integers(100, 238, n_rows), 0.99),
        "card6": sometimes(rng.choice(["debit", "credit"], n_rows), 0.99),
        "addr1": sometimes(rng.integers(100, 541, n_rows), 0.9),
        "addr2": sometimes(np.full(n_rows, 87), 0.9),
        "dist1": sometimes(rng.integers(0, 10_287, n_rows), 0.4),
        "dist2": sometimes(rng.integers(0, 11_624, n_rows), 0.1),
        "P_emaildomain": sometimes(rng.choice(["gmail.com", "aol.com"], n_rows), 0.8),
        "R_emaildomain": sometimes(rng.choice(["gmail.com", "yahoo.com"], n_rows), 0.2),
    }
    columns |= {f"C{number}": rng.integers(0, 50, n_rows) for number in range(1, 15)}
    columns |= {
        f"D{number}": sometimes(rng.integers(0, 640, n_rows), 0.5) for number in range(1, 16)
    }
    columns |= {f"M{number}": sometimes(rng.choice(["T", "F"], n_rows)) for number in range(1, 10)}
    columns["M4"] = sometimes(rng.choice(["M0", "M1", "M2"], n_rows))
    columns |= {
        f"V{number}": sometimes(rng.integers(0, 8, n_rows), 0.7) for number in range(1, 340)
    }
    return pd.DataFrame(columns)
