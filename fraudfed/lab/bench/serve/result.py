"""What ``fraudfed bench serve`` found."""

from dataclasses import dataclass

from fraudfed.lab.bench.machine import Machine


@dataclass(frozen=True)
class ServeFigures:
    """What was measured.

    Attributes
    ----------
    payments : int
        Scored and observed one by one, with all features and reasons.
    rate : int
        Payments a second that were due.
    warmed : int
        Payments observed before.
    p50_ms, p99_ms : float
        From the moment at which a payment was due until its answer was read: waiting for the
        answer to the payment before it counts.
    sent_p99_ms : float
        From the moment at which it was sent.
    wrong_answers : int
        Answers whose score or margin is not that of plain XGBoost on features recomputed in
        memory, or that are not of the step ``full``.
    without_reasons : int
        Answers that name no reason.
    xgboost_p50_ms, xgboost_p99_ms : float
        Plain XGBoost's prediction of each of those rows alone, on one thread.
    batch_rows : int
    batch_rows_per_second_and_core, xgboost_batch_rows_per_second_and_core : float
        Scores of features that are there, on one thread; the best of three repetitions.
    trees : int
        Of the model.
    date : str
    load_average : float
        Before the payments.
    machine : Machine
    """

    payments: int
    rate: int
    warmed: int
    p50_ms: float
    p99_ms: float
    sent_p99_ms: float
    wrong_answers: int
    without_reasons: int
    xgboost_p50_ms: float
    xgboost_p99_ms: float
    batch_rows: int
    batch_rows_per_second_and_core: float
    xgboost_batch_rows_per_second_and_core: float
    trees: int
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal."""
        lines = [
            f"service   p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms from when a payment was "
            f"due, p99 {self.sent_p99_ms:.2f} ms from when it was sent",
            f"          {self.payments:,} payments at {self.rate} a second after "
            f"{self.warmed:,} others, one core, model of {self.trees} trees",
            f"xgboost   p50 {self.xgboost_p50_ms:.2f} ms, p99 {self.xgboost_p99_ms:.2f} ms for the "
            "score of one row, without features and reasons",
            f"batch     {self.batch_rows_per_second_and_core:,.0f} rows a second and core, xgboost "
            f"{self.xgboost_batch_rows_per_second_and_core:,.0f}",
            f"answers   {self.wrong_answers} wrong, {self.without_reasons} without reasons",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)
