"""The pages of a bank, one function each. Nothing that they show leaves the bank by them."""

from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, Response, request

from bank_node.approval.decision import approve, revoke
from bank_node.approval.facts import Review
from bank_node.consortium.connection import connect
from bank_node.jobs.registry import JOBS
from bank_node.run.review import list_runs, review_run
from bank_node.service.pages import left
from bank_node.service.pages.alerts import Decisions, money
from bank_node.service.pages.results import VERDICTS, finished_run, finished_runs, shown_bounds
from bank_node.service.pages.token import check_token
from bank_node.state.directory import StateDirectory
from fraudfed.errors import FraudFedError, NotFoundError, ProtocolError
from fraudfed.http.pages.charts import line_chart
from fraudfed.http.pages.sessions import Sessions
from fraudfed.http.pages.site import PAGES, Site, SiteNames

_DAYS_ON_A_PAGE = 60
_ALERTS_ON_A_PAGE = 50


class BankPages:
    """The pages of one bank.

    Parameters
    ----------
    path : Path
        The state directory.
    passphrase : str or None
        What opens it; None if nothing has to be opened.
    token_file : Path
        Of the token that signs in.
    key : bytes
        Of the sessions.
    secure : bool
        The service itself serves https.
    """

    def __init__(
        self,
        path: Path,
        *,
        passphrase: str | None,
        token_file: Path,
        key: bytes,
        secure: bool = False,
    ) -> None:
        self._path, self._passphrase = path, passphrase
        state = self._state()
        self._bank = state.config.name
        self._sent = left.SentLog(state.audit_path, state.config.signing_key)
        self._decisions = Decisions(state)
        names = SiteNames(
            program=self._bank,
            cookie=f"fraudfed-{self._bank}",
            navigation=(
                ("What left", ""),
                ("Runs", "runs"),
                ("Models and gate", "models"),
                ("Alerts", "alerts"),
            ),
            foot="These pages are this bank's own. They load nothing from anywhere else, and what "
            "they show is sent nowhere.",
            hint=f"The one line of the file {token_file.name} in this bank's state directory, "
            "below serving/.",
        )
        self._site = Site(
            names,
            templates=Path(__file__).parent / "templates",
            sessions=Sessions(key),
            sign_in=lambda token: self._sign_in(token_file, token),
            still_good=lambda _subject: True,
            secure=secure,
        )

    def blueprint(self) -> Blueprint:
        """Return all pages, for an application to register."""
        pages = Blueprint("pages", __name__, url_prefix=PAGES)
        self._site.install(pages)
        for rule, name, view in (
            ("/", "left", self.left),
            ("/runs", "runs", self.runs),
            ("/run", "run", self.run),
            ("/models", "models", self.models),
            ("/alerts", "alerts", self.alerts),
            ("/alert", "alert", self.alert),
        ):
            pages.add_url_rule(rule, name, view)
        pages.add_url_rule("/approve", "approve", self.approve, methods=["POST"])
        return pages

    # Pages

    def left(self) -> Response:
        """Show what left on a day, today first."""
        self._site.require_subject()
        day = request.args.get("day", "") or left.today()
        _start_of(day)
        entries = self._sent.entries()
        known = left.days(entries)
        return self._site.render(
            "left.html.j2",
            day=left.sent_on(entries, day),
            is_today=day == left.today(),
            days=known[:_DAYS_ON_A_PAGE],
            entries=len(entries),
            every=left.every_request(),
            names=self._run_names(),
        )

    def runs(self) -> Response:
        """List the runs that are open to this bank; asks the aggregator for them."""
        self._site.require_subject()
        state, found, trouble = self._state(), None, ""
        try:
            with connect(state, self._passphrase) as connection:
                found = list_runs(state, connection.client, JOBS)
        except FraudFedError as error:
            trouble = str(error)
        return self._site.render("runs.html.j2", found=found, trouble=trouble)

    def run(self) -> Response:
        """Show everything that this bank would agree to; that it was shown is noted."""
        self._site.require_subject()
        state = self._state()
        with connect(state, self._passphrase) as connection:
            review = review_run(state, connection.client, request.args.get("id", ""), JOBS)
        return self._site.render("run.html.j2", section="runs", review=review, about=_about(review))

    def approve(self) -> Response:
        """Record that a person approves the bytes that the page named, or takes that back."""
        fields = self._site.form()
        self._site.require_subject()
        entry = (revoke if fields.get("revoke") else approve)(self._state(), fields.get("hash", ""))
        return self._site.redirect(f"run?id={entry.run_id}")

    def models(self) -> Response:
        """Show the finished runs, their curves, and what the gate said."""
        self._site.require_subject()
        state, wanted = self._state(), request.args.get("run", "")
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

    def alerts(self) -> Response:
        """List the alerts of a day."""
        self._site.require_subject()
        day = request.args.get("day", "") or left.today()
        start = _start_of(day)
        there = self._decisions.are_there
        found, decided = self._decisions.alerts(start, most=_ALERTS_ON_A_PAGE) if there else ([], 0)
        return self._site.render(
            "alerts.html.j2",
            found=found,
            money=money,
            decided=decided,
            are_there=there,
            day=day,
            is_today=day == left.today(),
            before=left.day_before(day),
        )

    def alert(self) -> Response:
        """Say why a payment was flagged, or why not."""
        self._site.require_subject()
        wanted = request.args.get("id", "").strip()
        found = self._decisions.explain(wanted) if self._decisions.are_there else None
        if found is None:
            raise NotFoundError(
                f"no decision about payment {wanted[:80]!r} is kept here: this bank's service has "
                "not scored it, or the decision is older than the log keeps, or erased"
            )
        return self._site.render("alert.html.j2", section="alerts", found=found, money=money)

    # Parts

    def _state(self) -> StateDirectory:
        """Return the state directory as it is now."""
        state = StateDirectory(self._path)
        state.unlock(self._passphrase)
        return state

    def _run_names(self) -> dict[str, str]:
        """Return the names of the runs that this bank has seen, by id."""
        state, found = self._state(), {}
        for path in (state.path / "runs").iterdir():
            run = state.pinned_run(path.name)
            if run is not None:
                found[run.run_id] = run.spec.name
        return found

    def _sign_in(self, token_file: Path, token: str) -> str:
        check_token(token_file, token)
        return self._bank


def _start_of(day: str) -> int:
    try:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ProtocolError(f"day is {day[:40]!r}, expected a date as 2026-01-31") from None


def _about(review: Review) -> list[tuple[str, str]]:
    """Return what a run uses, name by name; nothing is left out, as in ``runs review``."""
    rows = []
    for name, value in review.facts.about.model_dump(mode="json").items():
        if isinstance(value, list):
            rows += [(name, _plain(each)) for each in value] or [(name, "none")]
        else:
            rows.append((name, _plain(value)))
    return rows


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_plain(each)}" for key, each in value.items() if each != "")
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    return "none" if value is None else str(value)
