"""What monitoring said, for a page: advice in words, and weeks as curves."""

from markupsafe import Markup

from bank_node.monitoring.report import DriftReport
from fraudfed.http.pages.charts import Curve, line_chart

#: What is suggested: in words, and how it is marked.
ADVICE = {
    "nothing": ("Nothing to do: no week of these differs by more than weeks do.", "good"),
    "mend": ("Mend what feeds the model. Retrain on nothing that was broken.", "bad"),
    "look": ("Look closer. Nothing here asks for another model yet.", "wait"),
    "retrain": ("Retrain.", "bad"),
}


def drift_charts(report: DriftReport) -> tuple[Markup, ...]:
    """Return alerts and the stability of scores, week by week."""
    numbered = list(enumerate(report.weeks, start=1 - len(report.weeks)))
    psi = [(float(at), week.score_psi) for at, week in numbered if week.score_psi is not None]
    shares = [
        (float(at), 100 * week.alerts / week.payments) for at, week in numbered if week.payments
    ]
    return tuple(
        line_chart([Curve(title, points)], title=title, x_label="week, 0 is watched", y_label=unit)
        for title, unit, points in (
            ("Alerts", "% of payments", shares),
            ("Stability of scores", "PSI", psi),
        )
        if points
    )
