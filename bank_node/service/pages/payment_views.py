"""Pages about payments: alerts with their reasons, and what other banks know of an account."""

from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, request

from bank_node.data.risk_days import day_text
from bank_node.lookup.look_up import MOST_PURPOSE_CHARACTERS
from bank_node.lookup.tables import Found
from bank_node.service.looking_up import LookupDesk
from bank_node.service.pages import left
from bank_node.service.pages.alerts import Decisions, money
from bank_node.service.pages.pages_bank import PagesBank
from fraudfed.errors import FraudFedError, NotFoundError, ProtocolError, RateLimitedError
from fraudfed.http.pages.site import Site
from fraudfed.http.server.rates import Rates
from fraudfed.wire.messages import RiskEntity

_ALERTS_ON_A_PAGE = 50
#: People who read; a list goes by ``bank-node risk lookup --data``.
_LOOKUPS_PER_SECOND = 1.0
_MOST_IDENTIFIER_CHARACTERS = 200
#: What a form sends, in words.
_ENTITIES = {
    RiskEntity.PAYEE: "account that is paid",
    RiskEntity.MERCHANT: "merchant",
    RiskEntity.TERMINAL: "terminal",
}


class PaymentViews:
    """The views of one application.

    Parameters
    ----------
    site : Site
    bank : PagesBank
    desk : LookupDesk
    """

    def __init__(self, site: Site, bank: PagesBank, desk: LookupDesk) -> None:
        self._site, self._desk = site, desk
        self._decisions = Decisions(bank.state())
        self._rates = Rates(_LOOKUPS_PER_SECOND)

    def install(self, pages: Blueprint) -> None:
        """Add every page to a blueprint."""
        pages.add_url_rule("/alerts", "alerts", self.alerts)
        pages.add_url_rule("/alert", "alert", self.alert)
        pages.add_url_rule("/lookup", "ask_lookup", self.ask_lookup)
        pages.add_url_rule("/lookup", "lookup", self.lookup, methods=["POST"])

    def alerts(self) -> Response:
        """List the alerts of a day."""
        self._site.require_subject()
        day = request.args.get("day", "") or left.today()
        start = left.start_of(day)
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

    def ask_lookup(self) -> Response:
        """Ask what is to be looked up, by whom and what for."""
        self._site.require_subject()
        return self._lookup_page({})

    def lookup(self) -> Response:
        """Look one identifier up, and show what all banks entered of it.

        By POST, and without an address of its own: an account must not stand in a browser's
        history or in a proxy's log.
        """
        fields = self._site.form()
        wait = self._rates.take(self._site.require_subject())
        if wait > 0:
            raise RateLimitedError(
                "more look-ups than one a second were asked for on these pages; wait a moment, or "
                "look up a whole file with 'bank-node risk lookup --data'",
                retry_after_seconds=int(wait) + 1,
            )
        try:
            found = self._desk.find(
                *_asked(fields),
                who=fields.get("who", "").strip(),
                purpose=fields.get("purpose", "").strip(),
                durable=True,
            )
        except FraudFedError as error:
            return self._lookup_page(fields, refused=error)
        return self._lookup_page(fields, found=found[0])

    def _lookup_page(
        self,
        fields: Mapping[str, str],
        *,
        found: Found | None = None,
        refused: FraudFedError | None = None,
    ) -> Response:
        return self._site.render(
            "lookup.html.j2",
            http_status=HTTPStatus.OK if refused is None else refused.http_status,
            entities=_ENTITIES,
            fields=fields,
            found=found,
            refused=refused,
            day_text=day_text,
            most=MOST_PURPOSE_CHARACTERS,
            most_identifier=_MOST_IDENTIFIER_CHARACTERS,
        )


def _asked(fields: Mapping[str, str]) -> tuple[RiskEntity, tuple[str, ...]]:
    kind, identifier = fields.get("entity", ""), fields.get("identifier", "")
    if kind not in set(RiskEntity):
        raise ProtocolError(f"got {kind[:40]!r}, expected a payee, a merchant or a terminal")
    if len(identifier) > _MOST_IDENTIFIER_CHARACTERS:
        raise ProtocolError(
            f"the identifier has {len(identifier)} characters, expected at most "
            f"{_MOST_IDENTIFIER_CHARACTERS}"
        )
    return RiskEntity(kind), (identifier,)
