"""Phrases of payments that customers receive: the catalogue of recipe ``fraudfed-inbound-2``.

The customer is suspected of passing stolen money on. To tell them so could prejudice an
investigation (Proceeds of Crime Act 2002, section 333A, "tipping off"), so every customer text is
empty, and what may answer a complaint names no cause.
"""

from typing import Final

from fraudfed.catalogue.inbound import PASS_HOURS
from fraudfed.catalogue.recipe import FAN_IN_DAYS, WINDOW_DAYS
from fraudfed.reasons.outbound import (
    counted,
    report_variants,
    reported,
    time_phrase,
    use_variants,
)
from fraudfed.reasons.phrase import Phrase, Variant, said

_SILENT: Final = said("")
#: Of every phrase: which one it was would be the tip.
_COMPLAINT: Final = said(
    "We check incoming payments for signs of fraud, as we must. We cannot say what was found in a "
    "single case."
)


def _windows(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.format(days=days) for days in WINDOW_DAYS)


def _phrase(code: str, title: str, features: tuple[str, ...], *analyst: Variant) -> Phrase:
    return Phrase(code, title, features, analyst, customer=_SILENT, complaint=_COMPLAINT)


_TIME = time_phrase()

INBOUND_PHRASES: Final = (
    _phrase(
        "account_reports",
        "Frauds reported about the account or its owner",
        (*reported("payee"), "customer_reported_30d"),
        Variant(
            "{customer_reported_30d:count fraud} reported in 30 days among what the customer "
            "paid; about the account no reports",
            when=(
                "customer_reported_30d >= 1",
                "payee_fraud_count_30d == 0",
                "shared_payee_fraud_count_30d is missing",
            ),
        ),
        *report_variants("payee", without="no account"),
    ),
    _phrase(
        "payer_reports",
        "Frauds reported about the payer's account",
        (*reported("payer"), "payer_reported_30d"),
        Variant(
            "{payer_fraud_count_30d:count fraud} reported to us in 30 days among what the payer "
            "sent here, {payer_reported_30d:count fraud} among what our customers paid to it; at "
            "all banks together up to {shared_payer_fraud_count_30d:count fraud}"
        ),
        Variant(
            "{payer_fraud_count_30d:count fraud} reported to us in 30 days among what the payer "
            "sent here, {payer_reported_30d:count fraud} among what our customers paid to it"
        ),
        Variant("no payer", when=("payer_fraud_count_30d is missing",)),
        Variant("whether frauds were reported is not known"),
    ),
    _phrase(
        "passed_on",
        "Money that leaves soon after it came",
        (
            "seconds_since_outflow",
            "seconds_to_outflow",
            *_windows("outflow_count_{days}d"),
            *_windows("out_over_in_{days}d"),
            *(f"passed_on_{hours}h" for hours in PASS_HOURS),
        ),
        Variant(
            "{passed_on_24h:share} of what came in 30 days had left within 24 h; "
            "{outflow_count_1d:count outflow} in 24 h, usual: {outflow_count_30d:per_day 30}"
        ),
        Variant(
            "{outflow_count_1d:count outflow} in 24 h, usual: {outflow_count_30d:per_day 30}; no "
            "earlier money to follow"
        ),
        Variant("outflows not known"),
    ),
    _phrase(
        "payers",
        "New payers, or many of them",
        ("new_payer", *_windows("credit_payers_{days}d")),
        Variant(
            "first payment from this payer; {credit_payers_1d:count payer} in 24 h, "
            "{credit_payers_30d:count payer} in 30 days",
            when=("new_payer == 1",),
        ),
        Variant(
            "{credit_payers_1d:count payer} in 24 h, {credit_payers_30d:count payer} in 30 days"
        ),
        Variant("payers not known"),
    ),
    _phrase(
        "payer_use",
        "How much the payer pays to others here",
        (*(f"payer_customers_{days}d" for days in FAN_IN_DAYS), *counted("payer")),
        Variant(
            "the payer paid {payer_customers_30d:count customer} of ours in 30 days, in "
            "{payer_count_30d:count payment}"
        ),
        Variant("no payer"),
    ),
    _phrase(
        "account_age",
        "Young account or customer",
        ("customer_age_seconds", "account_age_seconds"),
        Variant("first payment of this customer", when=("customer_age_seconds == 0",)),
        Variant("first payment to this account", when=("account_age_seconds == 0",)),
        Variant(
            "customer first seen {customer_age_seconds:duration} before, account "
            "{account_age_seconds:duration}"
        ),
        Variant("customer first seen {customer_age_seconds:duration} before"),
        Variant("age not known"),
    ),
    _phrase(
        "amount",
        "Amount against what the customer usually receives",
        ("amount", "amount_over_credit_mean_30d", *_windows("credit_mean_amount_{days}d")),
        Variant(
            "{amount:money}; usual: {credit_mean_amount_30d:money} (mean of 30 days); this "
            "is {amount_over_credit_mean_30d:times} that",
            when=("amount_over_credit_mean_30d >= 1.5",),
        ),
        Variant("{amount:money}; usual: {credit_mean_amount_30d:money} (mean of 30 days)"),
        Variant("{amount:money}; usual: no earlier payment received in 30 days"),
        Variant("amount not known"),
    ),
    _phrase(
        "round_sum",
        "Round sum",
        ("amount_zeros",),
        Variant("{amount:money}, with {amount_zeros:count zero} at its end in minor units"),
        Variant("amount not known"),
    ),
    _phrase(
        "pace",
        "Payments received in quick succession, or after a long pause",
        (
            "seconds_since_activity",
            "seconds_since_credit",
            *_windows("credit_count_{days}d"),
        ),
        Variant(
            "{credit_count_1d:count payment} received in 24 h before this one; usual: "
            "{credit_count_30d:per_day 30} (30 days); the last one "
            "{seconds_since_credit:duration} before"
        ),
        Variant("no earlier payment received", when=("seconds_since_credit is missing",)),
        Variant("earlier payments not known"),
    ),
    _phrase(
        "account_use",
        "How much the account is paid",
        counted("payee"),
        *use_variants("payee", without="no account"),
    ),
    _phrase(_TIME.code, _TIME.title, _TIME.features, *_TIME.analyst),
)
