"""What all banks entered of an account, merchant or terminal."""

from typing import Annotated

from flask import current_app
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from bank_node.data.risk_days import day_text
from bank_node.lookup.look_up import MOST_PURPOSE_CHARACTERS
from bank_node.lookup.tables import Found
from bank_node.service.looking_up import LookupDesk
from fraudfed.errors import NotFoundError
from fraudfed.features.shared_risk.look_up import Interval
from fraudfed.http.server.declare import Endpoint, Endpoints
from fraudfed.wire.messages import RiskEntity

endpoints = Endpoints(Endpoint)

#: Identifiers of one request.
MOST_IDENTIFIERS = 1000

_Text = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=MOST_PURPOSE_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SentLookup(_Message):
    """Identifiers of one kind; ``purpose`` and ``who`` stand in the bank's log of look-ups."""

    entity: RiskEntity
    identifiers: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=MOST_IDENTIFIERS)]
    purpose: _Text
    who: _Text


class FoundCount(_Message):
    """A count over all banks; not ``known``: nothing can be said to be there."""

    count: int
    lower: int
    upper: int
    known: bool


class FoundWindow(_Message):
    """Some days up to ``as_of``, of which ``missing_days`` have no table."""

    days: int
    missing_days: int
    payments: FoundCount
    frauds: FoundCount


class FoundRisk(_Message):
    """What all banks entered of one identifier, which is in canonical form."""

    entity: RiskEntity
    identifier: str
    as_of: str
    age_days: int
    delay_days: int
    banks: int | None
    confidence: float
    windows: tuple[FoundWindow, ...]


class FoundRisks(_Message):
    """In the order in which they were asked."""

    found: tuple[FoundRisk, ...]


@endpoints.add(
    method="POST",
    rule="/risk/lookup",
    summary="Look up what all banks entered of accounts, merchants or terminals.",
    reads=SentLookup,
    answers=FoundRisks,
    errors=(NotFoundError,),
)
def look_up_risk(body: SentLookup) -> FoundRisks:
    """Look up."""
    desk: LookupDesk | None = current_app.extensions.get("lookup")
    if desk is None:
        raise NotFoundError("this service was started without risk tables to look anything up in")
    found = desk.find(body.entity, body.identifiers, who=body.who, purpose=body.purpose)
    return FoundRisks(found=tuple(map(_answer, found)))


def _answer(found: Found) -> FoundRisk:
    return FoundRisk(
        entity=found.entity,
        identifier=found.identifier,
        as_of=day_text(found.as_of),
        age_days=found.age_days,
        delay_days=found.delay_days,
        banks=found.banks,
        confidence=found.confidence,
        windows=tuple(
            FoundWindow(
                days=window.days,
                missing_days=sum(last - first + 1 for first, last in window.missing),
                payments=_count(window.payments),
                frauds=_count(window.frauds),
            )
            for window in found.windows
        ),
    )


def _count(found: Interval) -> FoundCount:
    return FoundCount(count=found.count, lower=found.lower, upper=found.upper, known=found.is_known)
