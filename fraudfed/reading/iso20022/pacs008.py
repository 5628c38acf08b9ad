"""Credit transfers of pacs.008 messages (FIToFICustomerCreditTransfer) as rows of texts.

Names are those of the ISO 20022 message definition reports, pacs.008.001.02 to .13; what differs
between the versions is looked for under either name (``BIC`` until .02, ``BICFI`` later).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

#: Namespaces of the versions that are read; the group is the version.
NAMESPACE: Final = re.compile(r"urn:iso:std:iso:20022:tech:xsd:pacs\.008\.001\.(0[2-9]|1[0-3])")
VERSIONS: Final = "pacs.008.001.02 to pacs.008.001.13"
#: The element that is a message, and those in it that are read.
MESSAGE: Final = "FIToFICstmrCdtTrf"
HEADER: Final = "GrpHdr"
TRANSFER: Final = "CdtTrfTxInf"

#: Every column of a row, in order; docs/mappings.md says what they are.
COLUMNS: Final = (
    "Id",
    "Time",
    "MsgId",
    "InstrId",
    "EndToEndId",
    "TxId",
    "UETR",
    "CreDtTm",
    "AccptncDtTm",
    "IntrBkSttlmDt",
    "IntrBkSttlmAmt",
    "Ccy",
    "ChrgBr",
    "SvcLvl",
    "LclInstrm",
    "CtgyPurp",
    "Purp",
    "DbtrAgt",
    "DbtrAcct",
    "CdtrAgt",
    "CdtrAcct",
)

#: What banks write where the customer gave no reference (EPC115-06, SEPA credit transfer).
_NO_REFERENCE: Final = "NOTPROVIDED"
#: ActiveCurrencyAndAmount: 18 digits, 5 of them behind the point, none below zero.
_AMOUNT: Final = re.compile(r"(?=[0-9.]{1,19}\Z)[0-9]+(\.[0-9]{1,5})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
#: xs:dateTime of a year of four digits; seconds of 60 do not occur in it.
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_DATE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(Z|[+-][0-9]{2}:[0-9]{2})?")

_HEADER: Final = ("MsgId", "CreDtTm", "NbOfTxs", "IntrBkSttlmDt")
_REFERENCES: Final = ("InstrId", "EndToEndId", "TxId", "UETR")
_TYPES: Final = ("SvcLvl", "LclInstrm", "CtgyPurp")
#: What names a bank, the first that is there.
_BICS: Final = tuple(f"{{party}}Agt/FinInstnId/{name}" for name in ("BICFI", "BIC"))
_CODES: Final = tuple(
    f"{{party}}Agt/FinInstnId/{name}" for name in ("ClrSysMmbId/MmbId", "LEI", "Othr/Id")
)
_AGENTS: Final = (*_BICS, *_CODES)
#: What names an account, the first that is there.
_IBAN: Final = "{party}Acct/Id/IBAN"
_ACCOUNTS: Final = (
    "{party}Acct/Id/Othr/Id",
    "{party}Acct/Prxy/Id",
    "{party}/Id/OrgId/Othr/Id",
    "{party}/Id/PrvtId/Othr/Id",
    "{party}/Id/OrgId/AnyBIC",
    "{party}/Id/OrgId/BICOrBEI",
    "{party}/Id/OrgId/LEI",
)

Fault = Callable[[str, str, str, str], None]
"""Takes a kind of fault, a path of elements, what was got, and what was expected."""


class Texts:
    """The texts of an element's descendants that are wanted, read in one pass.

    Parameters
    ----------
    element : element
        With all that is in it.
    space : str
        Namespace of its descendants; those of another one are passed over.
    """

    def __init__(self, element: Any, space: str) -> None:
        self._found: dict[str, str] = {}
        self._tag = f"{{{space}}}"
        self._collect(element, "")

    def get(self, path: str) -> str | None:
        """Return the trimmed text of the first element of a path; None where there is none."""
        return self._found.get(path)

    def _collect(self, parent: Any, before: str) -> None:
        start = len(self._tag)
        for child in parent:
            tag = child.tag
            if not tag.startswith(self._tag):
                continue
            path = before + tag[start:]
            if path in _LEAVES:
                text = (child.text or "").strip()
                if text:
                    self._found.setdefault(path, text)
            elif path in _BRANCHES:
                self._collect(child, f"{path}/")


@dataclass
class Header:
    """What all transfers of a message have in common.

    Attributes
    ----------
    texts : dict of str to str
        ``MsgId``, ``CreDtTm``, ``NbOfTxs`` and others, by element name.
    """

    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, group: Any, space: str) -> "Header":
        """Read a group header, when all of it is there."""
        found = Texts(group, space)
        texts = {name: found.get(name) for name in _HEADER}
        texts |= {name: _choice(found, f"PmtTpInf/{name}") for name in _TYPES}
        return cls({name: text for name, text in texts.items() if text})


def transfer(
    element: Any, space: str, header: Header, *, number: int, fault: Fault
) -> dict[str, Any]:
    """Return the row of a credit transfer.

    Parameters
    ----------
    element : element ``CdtTrfTxInf`` with all that is in it
    space : str
        Namespace of the message.
    header : Header
    number : int
        Which transfer of its message it is, from 1.
    fault : callable
        Takes what is missing or wrong.

    Returns
    -------
    dict of str to str, int or None
        By ``COLUMNS``: ``Time`` is whole UTC epoch seconds, everything else text; None where there
        is none.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    texts = Texts(element, space)
    row["MsgId"] = header.texts.get("MsgId")
    for name in _REFERENCES:
        row[name] = texts.get(f"PmtId/{name}")
    row["Id"] = _identifier(row, number)
    row["CreDtTm"] = header.texts.get("CreDtTm")
    row["AccptncDtTm"] = texts.get("AccptncDtTm")
    row["Time"] = _time(row, fault)
    row["IntrBkSttlmDt"] = _settlement_day(texts, header, fault)
    _set_amount(row, texts, element.find(f"{{{space}}}IntrBkSttlmAmt"), fault)
    row["ChrgBr"] = texts.get("ChrgBr")
    row["Purp"] = _choice(texts, "Purp")
    for name in _TYPES:
        row[name] = _choice(texts, f"PmtTpInf/{name}") or header.texts.get(name)
    for party in ("Dbtr", "Cdtr"):
        agent = _agent(texts, party)
        row[f"{party}Agt"] = agent
        row[f"{party}Acct"] = account = _account(texts, party, agent)
        if account is None:
            fault(
                "missing_account",
                f"{TRANSFER}/{party}Acct",
                "neither an account nor an identification of the party",
                f"{party}Acct/Id/IBAN, {party}Acct/Id/Othr/Id or {party}/Id",
            )
    return row


def _identifier(row: dict[str, Any], number: int) -> str | None:
    """Return what names a payment best: no two payments share a UETR, nor a bank's own number."""
    reference = row["EndToEndId"]
    for found in (row["UETR"], row["TxId"], None if reference == _NO_REFERENCE else reference):
        if found:
            return str(found)
    return None if row["MsgId"] is None else f"{row['MsgId']}/{number}"


def _time(row: dict[str, Any], fault: Fault) -> int | None:
    """Return when the payment was accepted, or else when its message was made."""
    for name, path in (("AccptncDtTm", TRANSFER), ("CreDtTm", HEADER)):
        text = row[name]
        if text is None:
            continue
        seconds = epoch_seconds(text)
        if seconds is None:
            fault(
                "not_a_time",
                f"{path}/{name}",
                repr(text),
                "a time such as 2026-03-31T12:00:00.000Z",
            )
        return seconds
    expected = "AccptncDtTm of the transfer, or CreDtTm of the message"
    fault("missing_time", f"{HEADER}/CreDtTm", "no time", expected)
    return None


def epoch_seconds(text: str) -> int | None:
    """Return whole UTC epoch seconds of an ISODateTime, rounded down; None if it is none.

    A time without an offset is taken as UTC.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    base, offset = match[1], match[2] or "Z"
    # XML Schema 1.1 part 2, 3.3.7: the end of a day is the beginning of the next.
    is_midnight = base.endswith("T24:00:00")
    if is_midnight:
        base = base.replace("T24", "T00")
    try:
        moment = datetime.fromisoformat(base + offset)
        moment += timedelta(days=is_midnight)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None


def has_offset(text: str) -> bool:
    """Tell whether a time says how far it is from UTC."""
    match = _TIME.fullmatch(text)
    return match is None or match[2] is not None


def _settlement_day(texts: Texts, header: Header, fault: Fault) -> str | None:
    text = texts.get("IntrBkSttlmDt") or header.texts.get("IntrBkSttlmDt")
    if text is None:
        return None
    match = _DATE.fullmatch(text)
    try:
        if match is not None:
            return datetime.fromisoformat(match[1]).date().isoformat()
    except ValueError:
        pass
    fault("not_a_day", f"{TRANSFER}/IntrBkSttlmDt", repr(text), "a day such as 2026-03-31")
    return None


def _set_amount(row: dict[str, Any], texts: Texts, amount: Any, fault: Fault) -> None:
    path = f"{TRANSFER}/IntrBkSttlmAmt"
    text = texts.get("IntrBkSttlmAmt")
    if text is None or not _AMOUNT.fullmatch(text):
        got = "no amount" if not text else repr(text)
        fault("not_an_amount", path, got, "an amount of at most 18 digits, such as 12.50")
        return
    currency = (amount.get("Ccy") or "").strip()
    if not _CURRENCY.fullmatch(currency):
        got = "no currency" if not currency else repr(currency)
        fault("not_a_currency", f"{path}/@Ccy", got, "a currency of ISO 4217, such as GBP")
        return
    row["IntrBkSttlmAmt"] = text
    row["Ccy"] = currency


def _agent(texts: Texts, party: str) -> str | None:
    """Return what names a bank: its BIC without a branch ``XXX``, or another code."""
    bic = _first(texts, _BICS, party)
    if bic is not None:
        bic = bic.upper()
        return bic.removesuffix("XXX") if len(bic) == 11 else bic
    return _first(texts, _CODES, party)


def _account(texts: Texts, party: str, agent: str | None) -> str | None:
    """Return what names an account everywhere.

    An IBAN does. Other numbers are of one bank, which stands before them: account 1234 is another
    one at each bank.
    """
    iban = texts.get(_IBAN.format(party=party))
    if iban is not None:
        return "".join(iban.split()).upper()
    found = _first(texts, _ACCOUNTS, party)
    return found if found is None or agent is None else f"{agent}/{found}"


def _first(texts: Texts, paths: Iterable[str], party: str) -> str | None:
    for path in paths:
        found = texts.get(path.format(party=party))
        if found is not None:
            return found
    return None


def _choice(texts: Texts, path: str) -> str | None:
    """Return a code, or what stands for one between two banks."""
    return texts.get(f"{path}/Cd") or texts.get(f"{path}/Prtry")


def _paths() -> frozenset[str]:
    """Return the paths of every text that is read, of headers and transfers."""
    choices = (*(f"PmtTpInf/{name}" for name in _TYPES), "Purp")
    parties = (
        path.format(party=party)
        for party in ("Dbtr", "Cdtr")
        for path in (_IBAN, *_AGENTS, *_ACCOUNTS)
    )
    return frozenset(
        (
            *_HEADER,
            *(f"PmtId/{name}" for name in _REFERENCES),
            *("AccptncDtTm", "ChrgBr", "IntrBkSttlmAmt"),
            *(f"{choice}/{kind}" for choice in choices for kind in ("Cd", "Prtry")),
            *parties,
        )
    )


_LEAVES: Final = _paths()
_BRANCHES: Final = frozenset(
    "/".join(steps[:depth])
    for steps in (path.split("/") for path in _LEAVES)
    for depth in range(1, len(steps))
)
