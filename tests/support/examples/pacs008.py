"""Made-up pacs.008 messages in the shape of real ones; nobody's payment is in them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

import numpy as np

SPACE = "urn:iso:std:iso:20022:tech:xsd:pacs.008.001.{version:02d}"
HEAD = "urn:iso:std:iso:20022:tech:xsd:head.001.001.02"


@dataclass(frozen=True)
class Payment:
    """One credit transfer; None leaves an element out."""

    end_to_end: str = "NOTPROVIDED"
    tx_id: str | None = None
    uetr: str | None = None
    amount: str = "12.50"
    currency: str | None = "EUR"
    accepted: str | None = None
    day: str | None = None
    debtor: str | None = "IBAN:GB33BUKB20201555555555"
    creditor: str | None = "IBAN:DE75512108001245126199"
    debtor_agent: str | None = "BUKBGB22"
    creditor_agent: str | None = "SOLADEST600"
    purpose: str | None = None
    local_instrument: str | None = None
    charges: str = "SLEV"
    more: str = ""


@dataclass(frozen=True)
class Message:
    """One message."""

    payments: Sequence[Payment]
    name: str = "MSG-1"
    made: str = "2026-03-31T10:15:30.125Z"
    version: int = 8
    count: str | None = None
    day: str | None = None
    prefix: str = ""
    app_header: bool = False
    more: str = field(default="")


def _account(party: str, account: str | None, tag: str) -> str:
    if account is None:
        return ""
    kind, _, text = account.partition(":")
    if kind == "IBAN":
        held = f"<{tag}IBAN>{escape(text)}</{tag}IBAN>"
    elif kind == "PRXY":
        proxy = f"<{tag}Prxy><{tag}Id>{escape(text)}</{tag}Id></{tag}Prxy>"
        return f"<{tag}{party}Acct>{proxy}</{tag}{party}Acct>"
    else:
        held = f"<{tag}Othr><{tag}Id>{escape(text)}</{tag}Id></{tag}Othr>"
    return f"<{tag}{party}Acct><{tag}Id>{held}</{tag}Id></{tag}{party}Acct>"


def _agent(party: str, bic: str | None, version: int, tag: str) -> str:
    if bic is None:
        return ""
    name = "BIC" if version == 2 else "BICFI"
    code = f"<{tag}FinInstnId><{tag}{name}>{escape(bic)}</{tag}{name}></{tag}FinInstnId>"
    return f"<{tag}{party}Agt>{code}</{tag}{party}Agt>"


def _element(name: str, text: str | None, tag: str) -> str:
    return "" if text is None else f"<{tag}{name}>{escape(text)}</{tag}{name}>"


def transfer(payment: Payment, version: int, tag: str) -> str:
    """Return ``CdtTrfTxInf``."""
    local = _element("Cd", payment.local_instrument, tag)
    kind = (
        f"<{tag}PmtTpInf><{tag}LclInstrm>{local}</{tag}LclInstrm></{tag}PmtTpInf>" if local else ""
    )
    purpose = _element("Cd", payment.purpose, tag)
    currency = "" if payment.currency is None else f" Ccy={quoteattr(payment.currency)}"
    return (
        f"<{tag}CdtTrfTxInf><{tag}PmtId>"
        + _element("EndToEndId", payment.end_to_end, tag)
        + _element("TxId", payment.tx_id, tag)
        + _element("UETR", payment.uetr, tag)
        + f"</{tag}PmtId>{kind}"
        + f"<{tag}IntrBkSttlmAmt{currency}>{escape(payment.amount)}</{tag}IntrBkSttlmAmt>"
        + _element("IntrBkSttlmDt", payment.day, tag)
        + _element("AccptncDtTm", payment.accepted, tag)
        + _element("ChrgBr", payment.charges, tag)
        + f"<{tag}Dbtr><{tag}Nm>Made Up</{tag}Nm></{tag}Dbtr>"
        + _account("Dbtr", payment.debtor, tag)
        + _agent("Dbtr", payment.debtor_agent, version, tag)
        + _agent("Cdtr", payment.creditor_agent, version, tag)
        + f"<{tag}Cdtr><{tag}Nm>Made Up</{tag}Nm></{tag}Cdtr>"
        + _account("Cdtr", payment.creditor, tag)
        + (f"<{tag}Purp>{purpose}</{tag}Purp>" if purpose else "")
        + payment.more
        + f"</{tag}CdtTrfTxInf>\n"
    )


def document(message: Message) -> str:
    """Return ``Document``, with ``AppHdr`` before it where the message has one."""
    tag = f"{message.prefix}:" if message.prefix else ""
    space = SPACE.format(version=message.version)
    declared = f"xmlns:{message.prefix}" if message.prefix else "xmlns"
    count = str(len(message.payments)) if message.count is None else message.count
    header = (
        f"<{tag}GrpHdr>"
        + _element("MsgId", message.name, tag)
        + _element("CreDtTm", message.made, tag)
        + _element("NbOfTxs", count, tag)
        + _element("IntrBkSttlmDt", message.day, tag)
        + f"<{tag}SttlmInf><{tag}SttlmMtd>CLRG</{tag}SttlmMtd></{tag}SttlmInf></{tag}GrpHdr>\n"
    )
    before = (
        f'<AppHdr xmlns="{HEAD}"><BizMsgIdr>{escape(message.name)}</BizMsgIdr>'
        f"<MsgDefIdr>pacs.008.001.{message.version:02d}</MsgDefIdr></AppHdr>\n"
        if message.app_header
        else ""
    )
    transfers = "".join(transfer(one, message.version, tag) for one in message.payments)
    return (
        f'{before}<{tag}Document {declared}="{space}"><{tag}FIToFICstmrCdtTrf>{header}{transfers}'
        f"{message.more}</{tag}FIToFICstmrCdtTrf></{tag}Document>\n"
    )


def xml(*messages: Message, declaration: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> str:
    """Return a file: one message as it is, several or one with a header in an envelope."""
    found = "".join(document(message) for message in messages)
    if len(messages) > 1 or messages[0].app_header:
        found = f"<Envelope>{found}</Envelope>"
    return declaration + found


def made_up(n_payments: int, *, seed: int = 0, days: int = 20, version: int = 8) -> Message:
    """Return a message of payments by some accounts to others over some days."""
    rng = np.random.default_rng(seed)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    seconds = np.sort(rng.integers(0, days * 86_400, n_payments))
    payments = [
        Payment(
            end_to_end=f"INV-{number}",
            uetr=str(uuid.UUID(int=int(rng.integers(1 << 62)) + (number << 64), version=4)),
            amount=f"{rng.lognormal(4, 1):.2f}",
            currency="GBP",
            accepted=(start + timedelta(seconds=int(second))).isoformat(),
            debtor=f"IBAN:{iban(int(rng.integers(40)))}",
            creditor=f"OTHR:{int(rng.integers(60)):08d}",
            creditor_agent="MADEGB2LXXX",
            purpose=["GDDS", "SALA", None][int(rng.integers(3))],
        )
        for number, second in enumerate(seconds)
    ]
    return Message(payments, name=f"MSG-{seed}", version=version)


def iban(number: int) -> str:
    """Return the IBAN of an account at a bank that does not exist, with right check digits."""
    account = f"MADE{number:014d}"
    digits = "".join(str(int(character, 36)) for character in f"{account}GB00")
    return f"GB{98 - int(digits) % 97:02d}{account}"
