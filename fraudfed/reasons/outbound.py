"""Phrases of payments that customers make: the catalogue of recipe ``fraudfed-card-2``.

What a customer reads depends on the customer's own payments alone. Wherever a phrase rests on other
people's data (reports, other customers of a payee), its customer text is word for word the one of a
phrase that does not, so that the text tells nobody that there were reports.
"""

from typing import Final

from fraudfed.catalogue.recipe import FAN_IN_DAYS, WINDOW_DAYS
from fraudfed.reasons.phrase import Phrase, Variant, said

_CALL = "call us on the number on your card"

#: Of every phrase that is about a payee. A new payee from a new device looks like somebody else in
#: the account; from an own device like a scam; a known payee like an invoice with a false account.
_PAYEE: Final = (
    Variant(
        "You have not paid this account before, and you are using a device that is new to us. If "
        f"you did not set up this payment, or somebody is helping you with it, stop and {_CALL}.",
        when=("new_payee == 1", "new_device == 1"),
    ),
    Variant(
        "You have not paid this account before. Fraudsters pretend to be the bank, the police, a "
        "seller, an adviser or a friend. Ask the person or firm, on a number that you looked up "
        "yourself, whether the account is theirs. No bank and no police force will ever ask you to "
        "move money to keep it safe.",
        when=("new_payee == 1",),
    ),
    Variant(
        "Check that the account details are still right. Fraudsters send invoices and messages in "
        "another's name, with an account of their own.",
        when=("new_payee == 0",),
    ),
    Variant(""),
)
#: Of every phrase that is about a shop, a terminal or a kind of purchase.
_PURCHASE: Final = (
    Variant(
        "Nobody honest asks to be paid in gift cards. If somebody told you to buy them, stop and "
        f"{_CALL}.",
        when=("merchant_category == gift_cards",),
    ),
    Variant(
        "If you did not make this online payment, tell us now. Never give anybody a code that we "
        "send you.",
        when=("channel == ecommerce",),
    ),
    Variant(
        "Is your card with you? If you did not take out this cash, or somebody told you to, "
        f"{_CALL}.",
        when=("channel == atm",),
    ),
    Variant(
        "Is your card with you? If you did not make this payment, tell us now.",
        when=("channel == pos",),
    ),
    Variant(""),
)
_HURRY: Final = (
    "If somebody is pressing you to pay at once, or to tell nobody, stop: that is how fraudsters "
    f"work. If in doubt, {_CALL}."
)


def _days(pattern: str, days: tuple[int, ...] = WINDOW_DAYS) -> tuple[str, ...]:
    return tuple(pattern.format(days=n) for n in days)


def counted(entity: str) -> tuple[str, ...]:
    """Return the counts of payments of an entity, at this bank and at all."""
    return _days(f"{entity}_count_{{days}}d") + _days(f"shared_{entity}_count_{{days}}d")


def reported(entity: str) -> tuple[str, ...]:
    """Return the counts and rates of frauds of an entity, at this bank and at all."""
    return tuple(
        name
        for prefix in (entity, f"shared_{entity}")
        for kind in ("fraud_count", "fraud_rate")
        for name in _days(f"{prefix}_{kind}_{{days}}d")
    )


def use_variants(entity: str, *, without: str) -> tuple[Variant, ...]:
    """Return what an analyst reads of how much an entity is paid."""
    here = (
        f"{{{entity}_count_7d:count payment}} here in 7 days, {{{entity}_count_30d:count payment}} "
        "in 30"
    )
    return (
        Variant(
            f"{here}; at all banks together up to {{shared_{entity}_count_7d:count payment}} and "
            f"{{shared_{entity}_count_30d:count payment}}"
        ),
        Variant(here),
        Variant(without, when=(f"{entity}_count_30d is missing",)),
        Variant("how often it is paid is not known"),
    )


def report_variants(entity: str, *, without: str) -> tuple[Variant, ...]:
    """Return what an analyst reads of reports about an entity."""
    here = (
        f"{{{entity}_fraud_count_7d:count fraud}} reported to us in 7 days, "
        f"{{{entity}_fraud_count_30d:count fraud}} in 30"
    )
    return (
        Variant(
            f"{here}; at all banks together up to {{shared_{entity}_fraud_count_7d:count fraud}} "
            f"and {{shared_{entity}_fraud_count_30d:count fraud}}"
        ),
        Variant(here),
        Variant(without, when=(f"{entity}_fraud_count_30d is missing",)),
        Variant("whether frauds were reported is not known"),
    )


def time_phrase() -> Phrase:
    """Return the phrase about hour and weekday, which both recipes have."""
    return Phrase(
        "time",
        "Time of day and week",
        ("hour_of_day", "is_night", "is_weekend"),
        analyst=(
            Variant("at {hour_of_day:clock}, on a weekend", when=("is_weekend == 1",)),
            Variant("at {hour_of_day:clock}, on a working day"),
            Variant("time not known"),
        ),
        customer=said(""),
        complaint=said("We looked at the time of the payment."),
    )


OUTBOUND_PHRASES: Final = (
    Phrase(
        "payee_reports",
        "Frauds reported about the payee",
        reported("payee"),
        analyst=report_variants("payee", without="no payee"),
        customer=_PAYEE,
        complaint=said(
            "We check the account that is paid against reports of fraud. We cannot tell you about "
            "other people's payments."
        ),
    ),
    Phrase(
        "terminal_reports",
        "Frauds reported about the terminal",
        reported("terminal"),
        analyst=report_variants("terminal", without="no terminal"),
        customer=_PURCHASE,
        complaint=said(
            "We check the terminal or cash machine against reports of fraud. We cannot tell you "
            "about other people's payments."
        ),
    ),
    Phrase(
        "merchant_reports",
        "Frauds reported about the merchant",
        reported("merchant"),
        analyst=report_variants("merchant", without="no merchant"),
        customer=_PURCHASE,
        complaint=said(
            "We check the merchant against reports of fraud. We cannot tell you about other "
            "people's payments."
        ),
    ),
    Phrase(
        "new_payee",
        "Payee that the customer never paid before",
        ("new_payee",),
        analyst=(
            Variant("first payment to this payee", when=("new_payee == 1",)),
            Variant("the customer paid this payee before", when=("new_payee == 0",)),
            Variant("no payee"),
        ),
        customer=_PAYEE,
        complaint=(
            Variant("You had not paid this account before.", when=("new_payee == 1",)),
            Variant("We looked at whether you had paid this account before."),
        ),
    ),
    Phrase(
        "payee_use",
        "How much the payee is paid by others",
        (*_days("payee_customers_{days}d", FAN_IN_DAYS), *counted("payee")),
        analyst=(
            Variant(
                "paid by none of our customers in 30 days; at all banks together up to "
                "{shared_payee_count_30d:count payment}",
                when=("payee_customers_30d == 0",),
            ),
            Variant("paid by none of our customers in 30 days", when=("payee_customers_30d == 0",)),
            Variant(
                "paid by {payee_customers_30d:count customer} of ours in 30 days, in "
                "{payee_count_30d:count payment}; at all banks together up to "
                "{shared_payee_count_30d:count payment}"
            ),
            Variant(
                "paid by {payee_customers_30d:count customer} of ours in 30 days, in "
                "{payee_count_30d:count payment}"
            ),
            Variant("no payee", when=("payee_customers_30d is missing",)),
            Variant("how often it is paid is not known"),
        ),
        customer=_PAYEE,
        complaint=said("We looked at how the account that is paid is usually used."),
    ),
    Phrase(
        "device",
        "Device new to the customer",
        ("new_device", "device_age_seconds"),
        analyst=(
            Variant("first payment from this device", when=("new_device == 1",)),
            Variant("device first used {device_age_seconds:duration} before"),
            Variant("no device"),
        ),
        customer=(
            Variant(
                f"This device is new to us. If it is not yours, {_CALL} at once. Never give "
                "anybody a code that we send you, and let nobody see your screen.",
                when=("new_device == 1",),
            ),
            Variant(""),
        ),
        complaint=(
            Variant(
                "The payment came from a device that you had not used with us before.",
                when=("new_device == 1",),
            ),
            Variant("We looked at the device that the payment came from."),
        ),
    ),
    Phrase(
        "amount",
        "Amount against what the customer usually pays",
        (
            "amount",
            "amount_over_customer_mean_30d",
            *_days("customer_mean_amount_{days}d"),
        ),
        analyst=(
            Variant(
                "{amount:money}; usual: {customer_mean_amount_30d:money} (mean of 30 days); "
                "this is {amount_over_customer_mean_30d:times} that",
                when=("amount_over_customer_mean_30d >= 1.5",),
            ),
            Variant("{amount:money}; usual: {customer_mean_amount_30d:money} (mean of 30 days)"),
            Variant("{amount:money}; usual: no earlier payment in 30 days"),
            Variant("amount not known"),
        ),
        customer=(
            Variant(
                f"This is more than you usually pay. {_HURRY}",
                when=("amount_over_customer_mean_30d >= 2", "channel == transfer"),
            ),
            Variant(
                "This is more than you usually take out. Has somebody told you to take out cash? "
                f"Stop and {_CALL}.",
                when=("amount_over_customer_mean_30d >= 2", "channel == atm"),
            ),
            Variant(
                "This is more than you usually pay. If you did not make this payment, tell us now.",
                when=("amount_over_customer_mean_30d >= 2",),
            ),
            Variant(""),
        ),
        complaint=(
            Variant(
                "The amount was higher than what you usually pay.",
                when=("amount_over_customer_mean_30d >= 2",),
            ),
            Variant("We looked at the amount, beside what you usually pay."),
        ),
    ),
    Phrase(
        "pace",
        "Payments in quick succession, or after a long pause",
        ("customer_seconds_since_previous", *_days("customer_count_{days}d")),
        analyst=(
            Variant(
                "{customer_count_1d:count payment} in 24 h before this one; usual: "
                "{customer_count_30d:per_day 30} (30 days); the last one "
                "{customer_seconds_since_previous:duration} before"
            ),
            Variant("no earlier payment", when=("customer_seconds_since_previous is missing",)),
            Variant("earlier payments not known"),
        ),
        customer=(
            Variant(
                "There were several payments in a short time. If you did not make all of them, "
                "tell us now.",
                when=("customer_count_1d >= 3",),
            ),
            Variant(""),
        ),
        complaint=(
            Variant(
                "There were several payments in a short time.",
                when=("customer_count_1d >= 3",),
            ),
            Variant("We looked at how soon the payment followed your earlier ones."),
        ),
    ),
    Phrase(
        "place",
        "Distance from the previous payment",
        ("distance_km", "speed_kmh"),
        analyst=(
            Variant(
                "{distance_km:km} from the place of the payment before, at {speed_kmh:kmh} if one "
                "person made both"
            ),
            Variant("{distance_km:km} from the place of the payment before"),
            Variant("no two places to compare"),
        ),
        customer=(
            Variant(
                "This payment was made far from where you last paid. Is your card with you? If you "
                "did not make it, tell us now.",
                when=("distance_km >= 50",),
            ),
            Variant(""),
        ),
        complaint=said("We looked at where the payment was made, and where you had last paid."),
    ),
    Phrase(
        "purchase",
        "Channel and what is bought",
        ("channel", "merchant_category"),
        analyst=(
            Variant("{channel:category}, {merchant_category:category}"),
            Variant("{channel:category}"),
            Variant("{merchant_category:category}"),
            Variant("channel not known"),
        ),
        customer=_PURCHASE,
        complaint=said("We looked at how it was paid, and for what kind of goods."),
    ),
    Phrase(
        "terminal_use",
        "How much is paid at the terminal",
        counted("terminal"),
        analyst=use_variants("terminal", without="no terminal"),
        customer=_PURCHASE,
        complaint=said("We looked at how the terminal or cash machine is usually used."),
    ),
    Phrase(
        "merchant_use",
        "How much is paid at the merchant",
        counted("merchant"),
        analyst=use_variants("merchant", without="no merchant"),
        customer=_PURCHASE,
        complaint=said("We looked at how payments at this merchant usually are."),
    ),
    time_phrase(),
)
