"""The pages of a bank: what left it, and its runs. Nothing that they show leaves it by them."""

from pathlib import Path

from flask import Blueprint, Response, request

from bank_node.approval.decision import approve, revoke
from bank_node.approval.facts import Review
from bank_node.consortium.connection import connect
from bank_node.jobs.registry import JOBS
from bank_node.run.review import list_runs, review_run
from bank_node.service.looking_up import LookupDesk
from bank_node.service.pages import left
from bank_node.service.pages.model_views import ModelViews
from bank_node.service.pages.pages_bank import PagesBank
from bank_node.service.pages.payment_views import PaymentViews
from bank_node.service.pages.token import check_token
from fraudfed.errors import FraudFedError
from fraudfed.http.pages.sessions import Sessions
from fraudfed.http.pages.site import PAGES, Site, SiteNames

_DAYS_ON_A_PAGE = 60
_NAVIGATION = (
    ("What left", ""),
    ("Runs", "runs"),
    ("Results and gate", "models"),
    ("In charge", "stages"),
    ("Alerts", "alerts"),
    ("Look-up", "lookup"),
    ("Monitoring", "monitoring"),
)


class BankPages:
    """The pages of one bank.

    Parameters
    ----------
    bank : PagesBank
    desk : LookupDesk
    token_file : Path
        Of the token that signs in.
    key : bytes
        Of the sessions.
    secure : bool
        The service itself serves https.
    """

    def __init__(
        self,
        bank: PagesBank,
        desk: LookupDesk,
        *,
        token_file: Path,
        key: bytes,
        secure: bool = False,
    ) -> None:
        self._bank = bank
        config = bank.state().config
        self._sent = left.SentLog(bank.state().audit_path, config.signing_key)
        names = SiteNames(
            program=config.name,
            cookie=f"fraudfed-{config.name}",
            navigation=_NAVIGATION,
            foot="These pages are this bank's own. They load nothing from anywhere else, and what "
            "they show is sent nowhere.",
            hint=f"The one line of the file {token_file.name} in this bank's state directory, "
            "below serving/.",
        )
        self._site = Site(
            names,
            templates=Path(__file__).parent / "templates",
            sessions=Sessions(key),
            sign_in=lambda token: _sign_in(config.name, token_file, token),
            still_good=lambda _subject: True,
            secure=secure,
        )
        self._others = (
            PaymentViews(self._site, bank, desk),
            ModelViews(self._site, bank),
        )

    def blueprint(self) -> Blueprint:
        """Return all pages, for an application to register."""
        pages = Blueprint("pages", __name__, url_prefix=PAGES)
        self._site.install(pages)
        pages.add_url_rule("/", "left", self.left)
        pages.add_url_rule("/runs", "runs", self.runs)
        pages.add_url_rule("/run", "run", self.run)
        pages.add_url_rule("/approve", "approve", self.approve, methods=["POST"])
        for views in self._others:
            views.install(pages)
        return pages

    # Pages

    def left(self) -> Response:
        """Show what left on a day, today first."""
        self._site.require_subject()
        day = request.args.get("day", "") or left.today()
        left.start_of(day)
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
        state, found, trouble = self._bank.state(), None, ""
        try:
            with connect(state, self._bank.passphrase) as connection:
                found = list_runs(state, connection.client, JOBS)
        except FraudFedError as error:
            trouble = str(error)
        return self._site.render("runs.html.j2", found=found, trouble=trouble)

    def run(self) -> Response:
        """Show everything that this bank would agree to; that it was shown is noted."""
        self._site.require_subject()
        state = self._bank.state()
        with connect(state, self._bank.passphrase) as connection:
            review = review_run(state, connection.client, request.args.get("id", ""), JOBS)
        return self._site.render("run.html.j2", section="runs", review=review, about=_about(review))

    def approve(self) -> Response:
        """Record that a person approves the bytes that the page named, or takes that back."""
        fields = self._site.form()
        self._site.require_subject()
        entry = (revoke if fields.get("revoke") else approve)(
            self._bank.state(), fields.get("hash", "")
        )
        return self._site.redirect(f"run?id={entry.run_id}")

    # Parts

    def _run_names(self) -> dict[str, str]:
        """Return the names of the runs that this bank has seen, by id."""
        state, found = self._bank.state(), {}
        for path in (state.path / "runs").iterdir():
            run = state.pinned_run(path.name)
            if run is not None:
                found[run.run_id] = run.spec.name
        return found


def _sign_in(name: str, token_file: Path, token: str) -> str:
    check_token(token_file, token)
    return name


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
