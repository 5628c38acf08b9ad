"""Batch and online: the same scores and reasons for the same order of arrival, over a crash.

The oracle replays the order of arrival in memory, without a store, and XGBoost scores its rows.
In the order of the events the same replay is held against ``build_features``, the builder of
batches.
"""

import http.client
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import xgboost

from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.features import OnlineFeatures, build_features
from fraudfed.features.payment import Payment, payments_of
from fraudfed.lab.bench.serve.bank import ServingBank
from fraudfed.lab.bench.serve.measure import LISTENING, START_SECONDS, post, sent
from fraudfed.lab.local_federation.processes import ProgramGroup
from fraudfed.machine.usage import descendants
from fraudfed.reasons import Catalogue, reasons_in

_AT_ONCE = 250
_DEADLINE_MS = 60_000
_LATENESS = 86_400
#: A late payment comes after a minute to twelve hours, as many in each factor of two.
_LEAST_LATE, _MOST_LATE = 60, 43_200
_SCORED_AT_ONCE = 10_000


@dataclass(frozen=True)
class ArrivalFigures:
    """What was compared.

    Attributes
    ----------
    payments, late : int
    restarts : int
        How often the service was killed with SIGKILL and started again.
    wrong_scores, wrong_reasons : int
        Answers whose margin, or whose reasons, are not those of the oracle.
    wrong_batch_rows : int
        Rows of ``build_features`` that are not those of the replay in the order of events.
    share_different : float
        Of payments whose score is another one when all come in the order of events.
    share_different_much : float
        Of those where it differs by 0.01 or more.
    largest_difference : float
        Of a score, 0 to 1.
    """

    payments: int
    late: int
    restarts: int
    wrong_scores: int
    wrong_reasons: int
    wrong_batch_rows: int
    share_different: float
    share_different_much: float
    largest_difference: float

    def to_text(self) -> str:
        """Return a report for the terminal."""
        return "\n".join(
            [
                f"service   {self.payments:,} payments, {self.late:,} late, killed "
                f"{self.restarts} times: {self.wrong_scores} wrong scores, "
                f"{self.wrong_reasons} wrong reasons",
                f"batch     {self.wrong_batch_rows} wrong rows in the order of events",
                f"order     {self.share_different:.3%} of scores differ from those in the order of "
                f"events, {self.share_different_much:.3%} by 0.01 or more, the largest by "
                f"{self.largest_difference:.3f}",
            ]
        )


def measure_arrivals(
    bank: ServingBank, *, payments: int, late_share: float, seed: int, service: bool, work: Path
) -> ArrivalFigures:
    """Replay a bank's first payments in the order of arrival and of events.

    Parameters
    ----------
    bank : ServingBank
    payments : int
        As many as there are, at most.
    late_share : float
        0 to 1.
    seed : int
        Of which payments are late, and how late.
    service : bool
        Whether a real service answers, too.
    work : Path
        For the store and for logs.

    Raises
    ------
    FraudFedError
        If the service does not start, or refuses a payment.
    """
    table = bank.payments.head(payments)
    made, times = payments_of(table), table["event_time"].to_numpy(dtype=np.int64)
    rng = np.random.default_rng(seed)
    is_late = rng.random(times.size) < late_share
    delays = np.exp(rng.uniform(np.log(_LEAST_LATE), np.log(_MOST_LATE), times.size))
    order = np.argsort(times + np.where(is_late, delays.astype(np.int64), 0), kind="stable")
    booster = xgboost.Booster()
    booster.load_model(bytearray(bank.model.to_json()))
    arrived = replayed([made[row] for row in order.tolist()])
    in_time = replayed(made)
    scores = np.empty(times.size, np.float32)
    scores[order] = _predicted(booster, bank, arrived)
    differences = np.abs(scores - _predicted(booster, bank, in_time))
    # The service heard of no reports.
    batch = build_features(table.assign(is_fraud=0))
    rows_match = (_bits(batch.values) == _bits(in_time[batch.positions])).all(axis=1)
    wrong = (0, 0)
    if service:
        came = [made[row] for row in order.tolist()]
        wrong = _wrong(booster, bank, arrived, came, _served(bank, came, work=work))
    return ArrivalFigures(
        payments=int(times.size),
        late=int(is_late.sum()),
        restarts=int(service),
        wrong_scores=wrong[0],
        wrong_reasons=wrong[1],
        wrong_batch_rows=int((~rows_match).sum()) + int(times.size) - len(batch.positions),
        share_different=float((differences > 0).mean()),
        share_different_much=float((differences >= 0.01).mean()),
        largest_difference=float(differences.max()),
    )


def replayed(payments: Sequence[Payment]) -> Float32Array:
    """Return the features of payments in the order in which they arrive, kept in memory."""
    online = OnlineFeatures(allowed_lateness_seconds=_LATENESS)
    rows = np.empty((len(payments), len(online.names)), dtype=np.float32)
    for number, payment in enumerate(payments):
        rows[number] = online.row(payment)
        online.observe(payment)
    return rows


def _bits(values: Float32Array) -> Int64Array:
    return np.ascontiguousarray(values, dtype=np.float32).view(np.int32).astype(np.int64)


def _matrix(bank: ServingBank, rows: Float32Array) -> xgboost.DMatrix:
    types = ["c" if count else "q" for count in bank.model.schema.n_categories]
    return xgboost.DMatrix(np.ascontiguousarray(rows), feature_types=types)


def _predicted(booster: xgboost.Booster, bank: ServingBank, rows: Float32Array) -> Float32Array:
    found: Float32Array = booster.predict(_matrix(bank, rows), validate_features=False)
    return found


def _served(bank: ServingBank, payments: Sequence[Payment], *, work: Path) -> list[dict[str, Any]]:
    """Return a service's answers; it is killed when half of the payments are answered."""
    answers: list[dict[str, Any]] = []
    half = len(payments) // 2
    with ProgramGroup(logs=work / "arrivals-logs") as group:
        for name, stop in (("first", half), ("second", len(payments))):
            service = group.start(
                name,
                [
                    *("bank-node", "serve", "--state", str(bank.state), "--port", "0"),
                    *("--model", str(bank.model_file), "--store", str(work / "arrivals-store")),
                    *("--deadline-ms", str(_DEADLINE_MS), "--requests-per-second", "100000"),
                ],
            )
            url = group.wait_for_line(service, LISTENING, seconds=START_SECONDS)
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
            while len(answers) < stop:
                chunk = payments[len(answers) : min(len(answers) + _AT_ONCE, stop)]
                body = json.dumps({"payments": [sent(one) for one in chunk]}).encode()
                answers += json.loads(post(connection, "/v1/payments", body))["answers"]
            if stop == half:
                # Both processes, and no farewell: what was answered has to be there.
                family = (service.process.pid, *descendants(service.process.pid))
                for pid in family:
                    os.kill(pid, signal.SIGKILL)
                service.process.wait()
            connection.close()
    return answers


def _wrong(
    booster: xgboost.Booster,
    bank: ServingBank,
    rows: Float32Array,
    payments: Sequence[Payment],
    answers: Sequence[dict[str, Any]],
) -> tuple[int, int]:
    """Return how many answers have another score, and how many other reasons."""
    catalogue = Catalogue.of(bank.contract)
    wrong_scores = wrong_reasons = 0
    for start in range(0, len(answers), _SCORED_AT_ONCE):
        part = rows[start : start + _SCORED_AT_ONCE]
        matrix = _matrix(bank, part)
        margins = booster.predict(matrix, output_margin=True, validate_features=False)
        added = booster.predict(matrix, pred_contribs=True, validate_features=False)
        for number, row in enumerate(part):
            answer = answers[start + number]
            wrong_scores += answer.get("margin") != float(margins[number])
            currency = payments[start + number].currency
            expected = reasons_in(catalogue, added[number], row, currency=currency)
            found = [(one["code"], one["analyst"]) for one in answer.get("reasons", ())]
            wrong_reasons += found != [(one.code, one.analyst) for one in expected]
    return wrong_scores, wrong_reasons
