"""Pages about models: results with their gate, which one is in charge, and how it does."""

from flask import Blueprint, Response, request

from bank_node.lifecycle.changes import Wish, roll_back, stage
from bank_node.lifecycle.stage_history import Action
from bank_node.monitoring.kept import kept_reports
from bank_node.service.pages.drift import ADVICE, drift_charts
from bank_node.service.pages.pages_bank import PagesBank
from bank_node.service.pages.results import VERDICTS, finished_run, finished_runs, shown_bounds
from bank_node.service.pages.stages import MARKS, MEANINGS, shown_model, shown_stages
from fraudfed.errors import NotFoundError, ProtocolError
from fraudfed.http.pages.charts import line_chart
from fraudfed.http.pages.site import Site

_MOST_NAME, _MOST_REASON = 200, 2000


class ModelViews:
    """The views of one application.

    Parameters
    ----------
    site : Site
    bank : PagesBank
    """

    def __init__(self, site: Site, bank: PagesBank) -> None:
        self._site, self._bank = site, bank

    def install(self, pages: Blueprint) -> None:
        """Add every page to a blueprint."""
        pages.add_url_rule("/models", "models", self.models)
        pages.add_url_rule("/stages", "stages", self.stages)
        pages.add_url_rule("/stage", "stage", self.stage)
        pages.add_url_rule("/stage", "change_stage", self.change_stage, methods=["POST"])
        pages.add_url_rule("/monitoring", "monitoring", self.monitoring)

    def models(self) -> Response:
        """Show the finished runs, their curves, and what the gate said."""
        self._site.require_subject()
        state, wanted = self._bank.state(), request.args.get("run", "")
        rows = finished_runs(state)
        if not wanted:
            return self._site.render("models.html.j2", rows=rows, verdicts=VERDICTS)
        if wanted not in {row.run_id for row in rows}:
            raise NotFoundError(f"run {wanted[:80]} is not finished here")
        found = finished_run(state, wanted)
        return self._site.render(
            "model.html.j2",
            section="models",
            found=found,
            verdicts=VERDICTS,
            bounds=shown_bounds,
            chart=line_chart(
                found.curves,
                title="Candidates of the search" if found.winner else "Training",
                x_label="trees",
                y_label=found.y_label,
            ),
        )

    def stages(self) -> Response:
        """Show which model is in charge, those beside it, and what was decided."""
        self._site.require_subject()
        return self._site.render(
            "stages.html.j2",
            found=shown_stages(self._bank.state()),
            marks=MARKS,
            meanings=MEANINGS,
            state=self._bank.path,
        )

    def stage(self) -> Response:
        """Show where a model comes from, and let it be put in charge if the gate says so."""
        self._site.require_subject()
        found = shown_model(self._bank.state(), request.args.get("model", ""))
        return self._site.render(
            "stage.html.j2",
            section="stages",
            found=found,
            one=found.lineage,
            marks=MARKS,
            meanings=MEANINGS,
            state=self._bank.path,
        )

    def change_stage(self) -> Response:
        """Put a model in charge, or go back to the one before: by the rules of the commands."""
        fields = self._site.form()
        self._site.require_subject()
        wish = Wish(
            by=_text(fields.get("by", ""), "your name", _MOST_NAME),
            reason=_text(fields["reason"], "reason", _MOST_REASON) if "reason" in fields else None,
        )
        match fields.get("action"):
            case Action.PROMOTE:
                stage(self._bank.state(), Action.PROMOTE, fields.get("model", ""), wish)
            case Action.ROLLBACK:
                roll_back(self._bank.state(), wish)
            case other:
                raise ProtocolError(
                    f"got {str(other)[:40]!r}, expected promote or rollback; other changes are "
                    "made with 'bank-node models'"
                )
        return self._site.redirect("stages")

    def monitoring(self) -> Response:
        """Show what monitoring last said, its alarms first, and what to do about it."""
        self._site.require_subject()
        state = self._bank.state()
        kept, wanted = kept_reports(state.serving_path), request.args.get("name", "")
        shown = next((one for one in kept if one.name == wanted), None)
        if wanted and shown is None:
            raise NotFoundError(f"no report {wanted[:80]!r} is kept here")
        if shown is None and kept:
            shown = kept[0]
        run = None if shown is None else state.pinned_run(shown.report.run_id)
        return self._site.render(
            "monitoring.html.j2",
            kept=kept,
            shown=shown,
            run_name="" if run is None else run.spec.name,
            advice=ADVICE,
            charts=() if shown is None else drift_charts(shown.report),
            state=self._bank.path,
        )


def _text(text: str, what: str, most: int) -> str:
    text = text.strip()
    if not 1 <= len(text) <= most or not text.isprintable():
        raise ProtocolError(
            f"{what}: has {len(text)} characters, expected 1 to {most} that can be printed; the "
            "history keeps it"
        )
    return text
