"""Load a service that runs on one core, and hold each answer against plain XGBoost."""

import contextlib
import http.client
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import xgboost

from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.dtypes import Float32Array, Float64Array
from fraudfed.errors import TransportError
from fraudfed.features import OnlineFeatures
from fraudfed.features.payment import Payment, payments_of
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.serve.bank import ServingBank
from fraudfed.lab.bench.serve.result import ServeFigures
from fraudfed.lab.local_federation.processes import ProgramGroup

LISTENING = "scoring service listening on "
START_SECONDS = 60.0
_AT_ONCE = 1000
#: Beyond any answer that counts: no answer is one of the ladder's lower steps for lack of time.
_DEADLINE_MS = 10_000
_BATCH_ROWS = 500_000
_REPEATS = 3
#: A sleep ends late; the rest of the wait is spent awake.
_AWAKE_SECONDS = 0.0005
_HEADERS = {"Content-Type": "application/json"}
_FIELDS = tuple(field.name for field in fields(Payment) if field.name not in ("own", "identifiers"))


@dataclass(frozen=True, eq=False)
class _Answers:
    """Answers in the order of the payments, and milliseconds until each."""

    answers: list[dict[str, Any]]
    due_ms: Float64Array
    sent_ms: Float64Array


def measure(bank: ServingBank, *, rate: int, seconds: int, work: Path) -> ServeFigures:
    """Measure the service, then XGBoost on the same rows.

    Parameters
    ----------
    bank : ServingBank
        Its last ``rate * seconds`` payments are scored; those before are only observed.
    rate : int
        Payments a second.
    seconds : int
    work : Path
        For logs.

    Raises
    ------
    FraudFedError
        If the service does not start, or refuses a payment.
    """
    payments = payments_of(bank.payments)
    n_scored = min(rate * seconds, len(payments))
    before, scored = payments[:-n_scored], payments[-n_scored:]
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    found = _loaded(bank, before, scored, rate=rate, work=work)
    rows = _recomputed(before, scored)
    booster = xgboost.Booster()
    booster.load_model(bytearray(bank.model.to_json()))
    booster.set_param({"nthread": 1})
    wrong, alone_ms = _against_xgboost(booster, bank.model, rows, found.answers)
    batch = np.ascontiguousarray(rows[np.arange(_BATCH_ROWS) % len(rows)])
    types = _types(bank.model)
    ours = _best_seconds(lambda: predict_margins(bank.model, batch, threads=1))
    theirs = _best_seconds(
        lambda: booster.predict(
            xgboost.DMatrix(batch, feature_types=types, nthread=1), validate_features=False
        )
    )
    return ServeFigures(
        payments=n_scored,
        rate=rate,
        warmed=len(before),
        p50_ms=float(np.quantile(found.due_ms, 0.5)),
        p99_ms=float(np.quantile(found.due_ms, 0.99)),
        sent_p99_ms=float(np.quantile(found.sent_ms, 0.99)),
        wrong_answers=wrong,
        without_reasons=sum(not answer["reasons"] for answer in found.answers),
        xgboost_p50_ms=float(np.quantile(alone_ms, 0.5)),
        xgboost_p99_ms=float(np.quantile(alone_ms, 0.99)),
        batch_rows=_BATCH_ROWS,
        batch_rows_per_second_and_core=_BATCH_ROWS / ours,
        xgboost_batch_rows_per_second_and_core=_BATCH_ROWS / theirs,
        trees=len(bank.model.trees),
        date=date,
        load_average=load,
        machine=Machine.here("numpy", "xgboost", "flask", "gunicorn"),
    )


def _loaded(
    bank: ServingBank,
    before: Sequence[Payment],
    scored: Sequence[Payment],
    *,
    rate: int,
    work: Path,
) -> _Answers:
    """Start the service on one core, and send payments from this process on the others."""
    cores = sorted(os.sched_getaffinity(0))
    with ProgramGroup(logs=work / "serve-logs") as group:
        service = group.start(
            "serve",
            [
                *("bank-node", "serve", "--state", str(bank.state), "--port", "0"),
                *("--model", str(bank.model_file), "--store", str(work / "store")),
                *("--deadline-ms", str(_DEADLINE_MS), "--requests-per-second", "100000"),
            ],
        )
        # At once: the worker, and all threads, are made later and inherit it.
        os.sched_setaffinity(service.process.pid, {cores[0]})
        os.sched_setaffinity(0, set(cores[1:]) or {cores[0]})
        try:
            url = group.wait_for_line(service, LISTENING, seconds=START_SECONDS)
            address = urlsplit(url).netloc
            with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
                for start in range(0, len(before), _AT_ONCE):
                    many = [sent(payment) for payment in before[start : start + _AT_ONCE]]
                    post(connection, "/v1/observe", json.dumps({"payments": many}).encode())
                bodies = [json.dumps(sent(payment)).encode() for payment in scored]
                return _at_rate(connection, bodies, rate=rate)
        finally:
            os.sched_setaffinity(0, set(cores))


def _at_rate(
    connection: http.client.HTTPConnection, bodies: Sequence[bytes], *, rate: int
) -> _Answers:
    """Send each body when it is due, or as soon as the one before is answered."""
    contents: list[bytes] = []
    due_ms, sent_ms = np.empty(len(bodies)), np.empty(len(bodies))
    started = time.perf_counter() + 0.1
    for number, body in enumerate(bodies):
        due = started + number / rate
        while (rest := due - time.perf_counter()) > 0:
            time.sleep(max(0.0, rest - _AWAKE_SECONDS))
        begun = time.perf_counter()
        contents.append(post(connection, "/v1/payments", body))
        done = time.perf_counter()
        due_ms[number], sent_ms[number] = (done - due) * 1000, (done - begun) * 1000
    answers = [json.loads(content)["answers"][0] for content in contents]
    return _Answers(answers, due_ms, sent_ms)


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> bytes:
    """Return the body of an answer; raises TransportError if it is none of status 200."""
    connection.request("POST", path, body, _HEADERS)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise TransportError(
            f"the scoring service answered {answer.status} for {path}, expected 200: "
            f"{content[:300]!r}; see its log"
        )
    return content


def sent(payment: Payment) -> dict[str, Any]:
    """Return what a caller sends of a payment."""
    values = {name: getattr(payment, name) for name in _FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def _recomputed(before: Sequence[Payment], scored: Sequence[Payment]) -> Float32Array:
    """Return features of the payments in the same order of arrival, kept in memory."""
    online = OnlineFeatures()
    for payment in before:
        online.observe(payment)
    rows = np.empty((len(scored), len(online.names)), dtype=np.float32)
    for number, payment in enumerate(scored):
        rows[number] = online.features(payment)
        online.observe(payment)
    return rows


def _against_xgboost(
    booster: xgboost.Booster, model: Model, rows: Float32Array, answers: Sequence[dict[str, Any]]
) -> tuple[int, Float64Array]:
    """Return how many answers are not XGBoost's, and milliseconds of each row alone."""
    types = _types(model)
    wrong, alone_ms = 0, np.empty(len(rows))
    for number, answer in enumerate(answers):
        started = time.perf_counter()
        matrix = xgboost.DMatrix(rows[number : number + 1], feature_types=types, nthread=1)
        score = booster.predict(matrix, validate_features=False)[0]
        alone_ms[number] = (time.perf_counter() - started) * 1000
        margin = booster.predict(matrix, output_margin=True, validate_features=False)[0]
        wrong += not is_right(answer, score=float(score), margin=float(margin))
    return wrong, alone_ms


def is_right(answer: dict[str, Any], *, score: float, margin: float) -> bool:
    """Return whether an answer is what a model says of all features.

    Parameters
    ----------
    answer : dict
    score, margin : float
        XGBoost's, float32. The margin has to be the same number; XGBoost and this package each
        take their own exponential, so a score may differ by rounding of float32.
    """
    return (
        answer["step"] == "full"
        and answer["margin"] == margin
        and answer["score"] is not None
        and math.isclose(answer["score"], score, rel_tol=1e-6)
    )


def _types(model: Model) -> list[str]:
    return ["c" if count else "q" for count in model.schema.n_categories]


def _best_seconds(run: Callable[[], object]) -> float:
    best = math.inf
    for _ in range(_REPEATS):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best
