"""One list of kinds of fraud, and what other lists call them.

The kinds are those of UK Finance's Annual Fraud Report (2025, "Unauthorised fraud: payment cards",
"remote banking" and "Authorised push payment fraud"): how a card was come by, remote banking, and
the eight scams. First-party fraud and mule accounts, which no victim reports, stand apart.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class FraudKind:
    """A kind of fraud.

    Attributes
    ----------
    name : str
        As a file says it in ``fraud_kind``.
    group : str
        ``card``, ``remote_banking``, ``push_payment``, ``first_party``, ``mule`` or ``other``.
    description : str
    """

    name: str
    group: str
    description: str


#: What every unknown kind counts as.
OTHER: Final = "other"

FRAUD_KINDS: Final = (
    FraudKind("lost_stolen_card", "card", "with a card that was lost or stolen"),
    FraudKind("card_not_received", "card", "with a card that was taken from the post"),
    FraudKind(
        "counterfeit_card", "card", "with a copy of a card, skimmed at a terminal or machine"
    ),
    FraudKind("remote_purchase", "card", "with a card's details, card not present"),
    FraudKind("card_id_theft", "card", "a card account taken over, or opened in another's name"),
    FraudKind("remote_banking", "remote_banking", "by somebody else in the customer's account"),
    FraudKind("purchase_scam", "push_payment", "for goods that never come"),
    FraudKind("investment_scam", "push_payment", "for an investment that does not exist"),
    FraudKind("romance_scam", "push_payment", "to a feigned friend or partner"),
    FraudKind(
        "advance_fee_scam", "push_payment", "a fee for a prize, loan or job that never comes"
    ),
    FraudKind("invoice_mandate_scam", "push_payment", "an invoice or mandate with a false account"),
    FraudKind("ceo_scam", "push_payment", "ordered by a feigned superior"),
    FraudKind(
        "impersonation_police_bank_scam", "push_payment", "told to by feigned police or bank"
    ),
    FraudKind("impersonation_other_scam", "push_payment", "told to by another feigned body"),
    FraudKind("push_payment_scam", "push_payment", "a push payment scam whose type is not said"),
    FraudKind("first_party", "first_party", "by the customer, who denies it or never meant to pay"),
    FraudKind("mule_account", "mule", "stolen money that is passed on"),
    FraudKind(OTHER, "other", "any other"),
)

#: Names of other lists that mean one kind here: those of the generator ``data_gen``.
ALIASES: Final[dict[str, str]] = {
    "card_not_present": "remote_purchase",
    "lost_stolen": "lost_stolen_card",
    "compromised_terminal": "counterfeit_card",
    "account_takeover": "remote_banking",
    "mule_chain": "mule_account",
}

_NAMES: Final = {kind.name: kind.name for kind in FRAUD_KINDS} | ALIASES


def fraud_kind_of(text: str) -> str | None:
    """Return the name in the list of what a file calls a kind; None if it is unknown.

    Parameters
    ----------
    text : str
        Capitals, blanks and hyphens do not matter: ``"Romance scam"`` is ``romance_scam``.
    """
    return _NAMES.get("_".join(text.strip().lower().replace("-", " ").replace("_", " ").split()))
