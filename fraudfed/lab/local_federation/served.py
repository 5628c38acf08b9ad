"""What one bank's scoring service needs after a federation: its history, a policy, payments.

The last payments of the bank's file are kept back and come in one by one, as if they were made now;
all others are what the service remembers.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pandas as pd

from fraudfed.errors import TransportError

#: Payments that come in. Of the five most suspicious ones four are held, and one blocked.
_SENT: Final = 300
_HELD: Final = 5
_SENT_AT_ONCE: Final = 100
_SECONDS: Final = 120.0
#: What a payment has of the columns of a file; the others are its outcome.
_FIELDS: Final = (
    *("transaction_id", "event_time", "customer_id", "amount_minor", "merchant_id", "terminal_id"),
    *("payee_id", "device_id", "channel", "merchant_category", "latitude", "longitude"),
    *("direction", "payer_id", "currency"),
)


@dataclass(frozen=True)
class ServedModel:
    """What one bank is to score with, and what it has seen.

    Attributes
    ----------
    run_id : str
    payments : Path
        The bank's own, with labels.
    scores : Path
        Of the same rows in the same order, by this model.
    currency : str
        ISO 4217.
    """

    run_id: str
    payments: Path
    scores: Path
    currency: str


@dataclass(frozen=True)
class ServedFiles:
    """What was written for a service.

    Attributes
    ----------
    history, policy, example : Path
        ``example`` is the body of a request: one payment, which follows on all others.
    store : Path
        Where the service may remember; not there yet.
    sent : tuple of dict
        Payments in the order of their times.
    """

    history: Path
    policy: Path
    example: Path
    store: Path
    sent: tuple[dict[str, Any], ...]


def write_files(model: ServedModel, folder: Path) -> ServedFiles:
    """Write history, policy and example into a folder; what was there before is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = pd.read_parquet(model.payments)
    rows["score"] = pd.read_parquet(model.scores)["score"].to_numpy()
    rows = rows.sort_values("event_time", kind="stable", ignore_index=True)
    last, before = rows.tail(_SENT), rows.head(max(0, len(rows) - _SENT))
    files = ServedFiles(
        history=folder / "history.parquet",
        policy=folder / "policy.toml",
        example=folder / "payment.json",
        store=folder / "store",
        sent=tuple(map(_payment, last.to_dict("records"))),
    )
    before.drop(columns="score").to_parquet(files.history)
    ordered = last["score"].sort_values(ascending=False).to_numpy()
    files.policy.write_text(_policy(model.currency, hold=ordered[_HELD - 1], block=ordered[0]))
    example = files.sent[int(last["score"].to_numpy().argmax())]
    newest = files.sent[-1]["event_time"]
    again = {**example, "transaction_id": "demo-1", "event_time": newest + 60}
    files.example.write_text(json.dumps(again, indent=1) + "\n")
    return files


def send(url: str, files: ServedFiles) -> None:
    """Let the payments come in; raises TransportError if the service does not take them."""
    with httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False) as client:
        for start in range(0, len(files.sent), _SENT_AT_ONCE):
            body = {"payments": files.sent[start : start + _SENT_AT_ONCE]}
            answer = client.post("/v1/payments", json=body)
            if answer.status_code != httpx.codes.OK:
                raise TransportError(
                    f"{url}/v1/payments answered {answer.status_code}: {answer.text[:200]}"
                )


def _payment(row: dict[Any, Any]) -> dict[str, Any]:
    # Absent values are NaN or None in a frame, and left out in a request.
    found = {name: row[name] for name in _FIELDS if name in row and pd.notna(row[name])}
    return {name: str(v) if name.endswith("_id") else v for name, v in found.items()}


def _policy(currency: str, *, hold: float, block: float) -> str:
    # The same number twice would be a policy that never holds.
    both = f"hold = {hold:.6f}\nblock = {block:.6f}\n"
    return (
        'version = "demo"\n'
        f'currency = "{currency}"\n'
        f"alert_budget_a_day = {_HELD}\n\n"
        "[[rules]]\n"
        'name = "most suspicious of the last payments"\n'
        "[rules.score]\n"
        f"{both if hold < block else f'hold = {hold:.6f}'}\n"
    )
