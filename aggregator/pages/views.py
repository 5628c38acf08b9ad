"""The pages of an aggregator, one function each.

They read what the API reads, through the same services, as the caller that has signed in: what a
token may not see or do by the API it may not here either.
"""

from contextlib import ExitStack
from urllib.parse import quote

from flask import Blueprint, Response, g, request

from aggregator.api.confirming import content_of
from aggregator.api.services import services
from aggregator.audit.log import AuditRecord
from aggregator.caller import ANONYMOUS, Caller, Role
from aggregator.pages.chain import ChainChecks
from aggregator.pages.curves import search_curves
from aggregator.pages.progress import elapsed, progress_of
from fraudfed.consortium.public.fingerprint import fingerprint, roster_code
from fraudfed.errors import (
    AuthError,
    ConfirmationNeededError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
)
from fraudfed.http.pages.charts import line_chart
from fraudfed.http.pages.site import Site
from fraudfed.wire.messages import (
    Abort,
    AuditStatus,
    DropRequest,
    KeyEpochStatus,
    ModelVisibility,
    RoundSummary,
    RunKind,
    RunState,
    RunStatus,
    parse,
)

_ENTRIES_ON_A_PAGE = 50
_ROUNDS_ON_A_PAGE = 20
_RUNS_ON_A_PAGE = 100
_ENDED = frozenset({RunState.FINISHED, RunState.FAILED})
#: The same for two operators, who must ask for the same with the same words.
_DROP_REASON = "was waited for too long"
#: Answered without a place: they cost nothing, and a page without its look would help nobody.
_FILES = frozenset({"pages.file"})


class Views:
    """The views of one application."""

    def __init__(self, site: Site, checks: ChainChecks) -> None:
        self._site = site
        self._checks = checks

    def install(self, pages: Blueprint) -> None:
        """Add every page to a blueprint."""
        pages.before_request(_take_place)
        pages.teardown_request(lambda _error: _leave_place())
        pages.add_url_rule("/", "runs", self.runs)
        pages.add_url_rule("/run", "run", self.run)
        pages.add_url_rule("/progress", "progress", self.progress)
        pages.add_url_rule("/consortium", "consortium", self.consortium)
        pages.add_url_rule("/models", "models", self.models)
        pages.add_url_rule("/audit", "audit", self.audit)
        pages.add_url_rule("/change", "ask", self.ask)
        pages.add_url_rule("/change", "change", self.change, methods=["POST"])

    # Pages

    def runs(self) -> Response:
        """List all runs, newest first; those where a bank is waited for say so."""
        caller = self._caller()
        found = services().runs.list_runs(caller).runs
        rows = [
            (status, progress_of(status, *_rounds(status))) for status in found[:_RUNS_ON_A_PAGE]
        ]
        return self._site.render(
            "runs.html.j2",
            rows=rows,
            waiting=[row for row in rows if row[1].awaited],
            left_out=len(found) - len(rows),
            elapsed=elapsed,
        )

    def run(self) -> Response:
        """Show one run: what it does now, what it is, its rounds."""
        caller, status = self._caller(), self._run()
        start = max(0, status.round_number + 1 - _ROUNDS_ON_A_PAGE)
        rounds = (
            services()
            .runs.rounds(status.run_id, caller, start=start, limit=_ROUNDS_ON_A_PAGE)
            .rounds
        )
        result = _readable_result(status, caller)
        winner, curves = ("", ()) if result is None else search_curves(result)
        return self._site.render(
            "run.html.j2",
            section="",
            status=status,
            now=progress_of(status, *_rounds(status)),
            elapsed=elapsed,
            rounds=tuple(reversed(rounds)),
            ended=status.state in _ENDED,
            may_change=caller.role is Role.OPERATOR,
            two_operators=services().config.two_operators,
            chart=line_chart(
                curves,
                title="Candidates of the search",
                x_label="trees",
                y_label="area under the precision-recall curve",
            ),
            winner=winner,
            curves_note=_curves_note(status),
        )

    def progress(self) -> Response:
        """Answer the part of a run's page that changes."""
        self._caller()
        status = self._run()
        return self._site.fragment(
            "progress.html.j2",
            status=status,
            now=progress_of(status, *_rounds(status)),
            elapsed=elapsed,
        )

    def consortium(self) -> Response:
        """Show the members, what to read to each other, and which banks stand behind the keys."""
        self._caller()
        roster = services().members.roster()
        epoch = _current_epoch()
        members = [
            (
                member,
                fingerprint(member.name, member.signing_key, member.agreement_key),
                [one for one in roster.removals if one.removed.name == member.name],
            )
            for member in roster.members
        ]
        return self._site.render(
            "consortium.html.j2",
            members=members,
            code=roster_code(roster.members) if roster.members else "",
            epoch=epoch,
            acknowledged={one.bank: one for one in epoch.acknowledged} if epoch else {},
            roster_now={member.name: member for member in roster.members},
        )

    def models(self) -> Response:
        """List the results that all banks of a run agreed on."""
        caller = self._caller()
        rows = []
        for status in services().runs.list_runs(caller).runs[:_RUNS_ON_A_PAGE]:
            if status.model_sha256 is None:
                continue
            signed = services().runs.model_signatures(status.run_id, caller)
            rows.append((status, signed, status.spec.model_visibility is ModelVisibility.MEMBERS))
        return self._site.render("models.html.j2", rows=rows)

    def audit(self) -> Response:
        """Show the log, newest first, and the state of its chain."""
        self._caller()
        run_id = request.args.get("run") or None
        if run_id is not None:
            services().runs.require_cohort(run_id, self._caller())
            found = services().audit.entries(run_id=run_id)
            last, entries = len(found), tuple(reversed(found))
            before = None
        else:
            newest = services().audit.last_number()
            last = min(newest, _number("before", newest + 1) - 1)
            start = max(1, last - _ENTRIES_ON_A_PAGE + 1)
            entries = tuple(reversed(services().audit.entries(start=start, limit=last - start + 1)))
            before = start if start > 1 else None
        return self._site.render(
            "audit.html.j2",
            entries=entries,
            older=before,
            run_id=run_id,
            chain=self._checks.state(),
            key=services().audit.public_key,
            refused=AuditStatus.REFUSED,
        )

    # Changes

    def ask(self) -> Response:
        """Say what a change does, and ask for it."""
        caller, status = self._operator(), self._run()
        bank = request.args.get("bank", "")
        if bank and bank not in status.generation.banks:
            raise NotFoundError(f"{bank[:80]} takes no part in run {status.run_id} now")
        return self._site.render(
            "change.html.j2",
            section="",
            status=status,
            bank=bank,
            caller=caller,
            reason=_DROP_REASON if bank else "",
            two_operators=services().config.two_operators,
        )

    def change(self) -> Response:
        """End a run, or go on without a bank; with two operators the second one does it."""
        fields = self._site.form()
        caller = self._operator()
        run_id, bank, reason = (fields.get(name, "") for name in ("id", "bank", "reason"))
        status = services().runs.visible_status(run_id, caller)
        if bank:
            wanted = parse(DropRequest, {"bank": bank, "reason": reason}, source="form")
            path = f"/v1/runs/{quote(run_id)}/drops"
            if services().config.two_operators:
                try:
                    services().confirmations.require(
                        caller, "drop", f"run/{run_id}", content_of("POST", path, wanted)
                    )
                except ConfirmationNeededError as error:
                    return self._site.render(
                        "problem.html.j2",
                        http_status=403,
                        title="Asked for: another operator has to confirm",
                        text=str(error),
                    )
            services().generations.drop(run_id, caller, wanted)
        else:
            abort = parse(Abort, {"reason": reason}, source="form")
            services().runs.abort(run_id, caller, abort.reason)
        return self._site.redirect(f"run?id={status.run_id}")

    # Parts

    def _caller(self) -> Caller:
        subject = self._site.require_subject()
        found = services().authenticator.still_holds(subject)
        if found is None:
            raise AuthError("the token that you signed in with is good no more; sign in again")
        g.caller = found
        return found

    def _operator(self) -> Caller:
        caller = self._caller()
        if caller.role is not Role.OPERATOR:
            raise ForbiddenError(f"{caller.actor} may look, but only the operator may change")
        return caller

    def _run(self) -> RunStatus:
        return services().runs.visible_status(request.args.get("id", ""), self._caller())


def sign_in(token: str) -> str:
    """Return the name of a token; that it was shown is written into the log, good or not.

    Raises
    ------
    AuthError
        If it is not one of this aggregator's.
    """
    try:
        caller = services().authenticator.holder_of(token)
    except AuthError as error:
        services().refusals.record(
            AuditRecord.of(ANONYMOUS, "sign-in", "service", str(error), status=AuditStatus.REFUSED)
        )
        raise
    services().audit.record(AuditRecord.of(caller, "sign-in", "service", "at a browser"))
    return caller.name


def still_good(name: str) -> bool:
    """Whether the token that a session was opened with may go on."""
    return services().authenticator.still_holds(name) is not None


def _take_place() -> None:
    """Be one of the requests that are worked on, and be counted as one of this sender's."""
    g.caller = ANONYMOUS
    g.pages_place = ExitStack()
    if request.endpoint in _FILES:
        return
    place = g.pages_place.enter_context(services().admission.place())
    session = g.get("pages_session")
    if session is None or not session.subject:
        services().admission.charge_anonymous(services().forwarded.sender(request.environ))
        place.assign(ANONYMOUS.actor)
    else:
        services().admission.charge(f"page:{session.subject}")
        place.assign(f"page:{session.subject}")


def _leave_place() -> None:
    held = g.pop("pages_place", None)
    if held is not None:
        held.close()


def _rounds(status: RunStatus) -> tuple[RoundSummary | None, RoundSummary | None]:
    """Return the open round and the one before it, each if it is there."""
    number = status.round_number
    found = {
        one.number: one
        for one in services().runs.recent_rounds(status.run_id, start=max(0, number - 1), limit=2)
    }
    return found.get(number), found.get(number - 1)


def _current_epoch() -> KeyEpochStatus | None:
    try:
        return services().epochs.status()
    except NotFoundError:
        return None


def _readable_result(status: RunStatus, caller: Caller) -> bytes | None:
    if (
        status.spec.kind is not RunKind.SEARCH
        or status.model_sha256 is None
        or status.spec.model_visibility is ModelVisibility.MEMBERS
    ):
        return None
    return services().runs.model(status.run_id, caller)[1]


def _curves_note(status: RunStatus) -> str:
    if status.spec.kind in (RunKind.RISK, RunKind.STATISTICS):
        return ""
    if status.spec.kind is RunKind.TRAINING:
        return (
            "The aggregator does not know this run's metrics: they are summed under encryption and "
            "opened by the banks. Each bank sees its curves on its own pages."
        )
    if status.spec.model_visibility is ModelVisibility.MEMBERS:
        return (
            "The aggregator does not know this search's curves: its result is sealed to the "
            "members. Each bank sees them on its own pages."
        )
    return "A search's curves are in its result; they are shown when it is finished."


def _number(name: str, default: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ProtocolError(f"{name} is {text[:40]!r}, expected a number")
    return int(text)
