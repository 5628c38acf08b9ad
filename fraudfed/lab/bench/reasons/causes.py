"""What each kind of fraud of the generator does, as phrases: written down before measuring.

Source: the table of docs/data.md ("Fraud"), and the docstrings of ``data_gen.fraud``, which say
what sets each kind apart from everyday payments.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE

#: Codes of phrases by recipe and kind.
PLANTED_CAUSES: Final[Mapping[str, Mapping[str, frozenset[str]]]] = MappingProxyType(
    {
        RECIPE: {
            # Often a small probe, then online purchases within hours, mostly from an unknown
            # device.
            "card_not_present": frozenset({"device", "pace", "purchase"}),
            # Many terminals and cash machines within an hour or two; amounts above the usual.
            "lost_stolen": frozenset({"pace", "amount"}),
            # At one terminal or shop for weeks, a little higher than usual.
            "compromised_terminal": frozenset({"terminal_reports", "merchant_reports", "amount"}),
            # A foreign device; large transfers that drain the account, mostly to mules.
            "account_takeover": frozenset({"device", "amount", "new_payee", "payee_reports"}),
            # Own device, new payee, large payments, to mules.
            "push_payment_scam": frozenset({"new_payee", "amount", "payee_reports"}),
            # Stolen money leaves for a mule at another bank, or in cash; often a gang's device.
            "mule_chain": frozenset({"new_payee", "amount", "payee_reports", "device"}),
            # Own purchases, above the usual, or many in two weeks; all of them online, which was
            # overlooked at first: ``purchase`` is the one code here that was added after measuring.
            "first_party": frozenset({"amount", "pace", "purchase"}),
        },
        INBOUND_RECIPE: {
            # Stolen money reaches a mule from a stranger, in large sums, and leaves within a day.
            "account_takeover": frozenset({"account_reports", "payers", "amount", "passed_on"}),
            "push_payment_scam": frozenset({"account_reports", "payers", "amount", "passed_on"}),
            # The payer is a mule, too.
            "mule_chain": frozenset(
                {"account_reports", "payers", "amount", "passed_on", "payer_reports"}
            ),
        },
    }
)
