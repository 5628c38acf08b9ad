"""What every feature of incoming payments means: the recipe of the receiving bank.

*The customer* is who is paid, *the account* the one that is paid, *the payer* the sending account.
An *outflow* is a transfer that the customer makes, or cash that the customer takes out: the ways in
which a mule passes money on. Purchases are none.
"""

from fraudfed.catalogue.recipe import (
    FAN_IN_DAYS,
    WINDOW_DAYS,
    FeatureDefinition,
    Others,
    risk_windows,
    shared_windows,
)

#: Name and version, as a data contract names it.
INBOUND_RECIPE = "fraudfed-inbound-2"

#: Hours within which money that arrived may leave again, to count as passed on.
PASS_HOURS = (1, 6, 24)
#: Over how many days of arrivals the share passed on is taken.
PASS_DAYS = 30
#: Channels of outflows. Where the channel is not known, every outbound payment is one.
OUTFLOW_CHANNELS = ("transfer", "atm")
#: Most zeros at the end of an amount that are told apart: a million minor units.
MOST_ZEROS = 6

_PASSED_ON = (
    "of the money that reached the customer in the {days} x 24 h that ended {hours} h ago, the "
    "share that left within {hours} h: of each payment the smaller of its amount and the outflows "
    "in that time; missing if no money came"
)


def _credit_windows() -> list[FeatureDefinition]:
    last = "in the last {days} x 24 h"
    return [
        *(
            FeatureDefinition(
                f"credit_count_{days}d",
                "1",
                f"the customer's earlier inbound payments {last.format(days=days)}",
            )
            for days in WINDOW_DAYS
        ),
        *(
            FeatureDefinition(
                f"credit_mean_amount_{days}d",
                "minor currency units",
                f"mean amount of the customer's earlier inbound payments {last.format(days=days)}; "
                "missing if there is none",
            )
            for days in WINDOW_DAYS
        ),
        FeatureDefinition(
            "amount_over_credit_mean_30d",
            "1",
            "amount / credit_mean_amount_30d; missing if that is missing or 0",
        ),
        *(
            FeatureDefinition(
                f"credit_payers_{days}d",
                "1",
                f"distinct payers who paid the customer {last.format(days=days)}, before this "
                "payment; payments without payer are left out",
            )
            for days in WINDOW_DAYS
        ),
    ]


def _outflow_windows() -> list[FeatureDefinition]:
    last = "in the last {days} x 24 h"
    return [
        *(
            FeatureDefinition(
                f"outflow_count_{days}d",
                "1",
                f"the customer's earlier outflows {last.format(days=days)}",
            )
            for days in WINDOW_DAYS
        ),
        *(
            FeatureDefinition(
                f"out_over_in_{days}d",
                "1",
                f"amount of the customer's earlier outflows {last.format(days=days)} / amount of "
                "the earlier inbound payments in that time; missing if the latter is 0",
            )
            for days in WINDOW_DAYS
        ),
    ]


#: Every feature in column order.
INBOUND_FEATURES: tuple[FeatureDefinition, ...] = (
    FeatureDefinition("amount", "minor currency units", "amount of the payment"),
    FeatureDefinition("hour_of_day", "h", "time since midnight UTC, 0 to below 24"),
    FeatureDefinition("is_night", "1", "1 from 00:00:00 to 05:59:59 UTC, else 0"),
    FeatureDefinition("is_weekend", "1", "1 on Saturday and Sunday UTC, else 0"),
    FeatureDefinition(
        "amount_zeros",
        "1",
        f"how often 10 divides the amount in minor currency units, {MOST_ZEROS} at most",
    ),
    FeatureDefinition(
        "customer_age_seconds",
        "s",
        "time since the customer's first payment in either direction, 0 at first sight",
    ),
    FeatureDefinition(
        "account_age_seconds",
        "s",
        "time since the account was first paid, 0 at first sight; missing without account",
        # Two customers may have one account.
        others=Others.OF_BANK,
    ),
    FeatureDefinition(
        "seconds_since_activity",
        "s",
        "time since the customer's latest earlier payment in either direction; missing for the "
        "first",
    ),
    FeatureDefinition(
        "seconds_since_credit",
        "s",
        "time since the customer's latest earlier inbound payment; missing for the first",
    ),
    FeatureDefinition(
        "seconds_since_outflow",
        "s",
        "time since the customer's latest earlier outflow; missing if there is none",
    ),
    *_credit_windows(),
    FeatureDefinition(
        "new_payer",
        "1",
        "1 if the payer never paid the customer at an earlier second, else 0; missing without "
        "payer",
    ),
    *(
        FeatureDefinition(
            f"payer_customers_{days}d",
            "1",
            f"distinct customers of the bank whom the payer paid in the last {days} x 24 h, before "
            "this payment; missing without payer",
            others=Others.OF_BANK,
        )
        for days in FAN_IN_DAYS
    ),
    *_outflow_windows(),
    FeatureDefinition(
        "seconds_to_outflow",
        "s",
        "time from the customer's latest earlier inbound payment to the first outflow after it; "
        "missing if there is none before this payment",
    ),
    *(
        FeatureDefinition(
            f"passed_on_{hours}h", "1", _PASSED_ON.format(days=PASS_DAYS, hours=hours)
        )
        for hours in PASS_HOURS
    ),
    *risk_windows(
        "payee",
        payments="inbound payments to the account",
        frauds="frauds among inbound payments to the account",
        without="account",
    ),
    *risk_windows(
        "payer",
        payments="inbound payments from the payer",
        frauds="frauds among inbound payments from the payer",
        without="payer",
    ),
    FeatureDefinition(
        "payer_reported_30d",
        "1",
        "frauds among outbound payments of the bank's customers to the payer's account that were "
        "reported in the last 30 x 24 h, before this payment; each not before risk_delay_days "
        "after it was paid; missing without payer",
        others=Others.OF_BANK,
    ),
    FeatureDefinition(
        "customer_reported_30d",
        "1",
        "frauds among the customer's outbound payments that were reported in the last 30 x 24 h, "
        "before this payment; each not before risk_delay_days after it was paid",
    ),
)

#: What a run with risk tables adds: the payments to the account that all banks entered, and those
#: to the payer's account, which is where a chain shows.
INBOUND_SHARED_FEATURES: tuple[FeatureDefinition, ...] = (
    *shared_windows("payee", at="to the account", without="account"),
    *shared_windows("payer", at="to the payer's account", without="payer"),
)
