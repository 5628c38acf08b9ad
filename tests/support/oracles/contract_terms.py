"""A contract with own columns, a population and currencies, and rows that it can be tried on."""

import numpy as np
import pandas as pd

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.wire.messages import Currency, DataContract, FeatureSpec, FeatureType, Population

#: One of each type; a missing balance is learnt from, an entry mode is always known.
OWN_COLUMNS = (
    FeatureSpec(name="balance", description="balance before the payment", unit="pence"),
    FeatureSpec(
        name="entry_mode",
        type=FeatureType.CATEGORICAL,
        categories=("chip", "contactless", "magstripe"),
        nullable=False,
        description="how the card was read",
        unit="code",
    ),
)
#: A rate that is changed, one with many digits, and minor units of another size.
CURRENCY = Currency(
    code="GBP",
    rates={
        "USD": {"2023-01-01": "0.8012", "2023-07-01": "0.7865"},
        "JPY": {"2023-01-01": "0.005512345678"},
        "KWD": {"2023-01-01": "2.61"},
    },
)
TERMS = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=(*contract_features(), *OWN_COLUMNS),
    currency=CURRENCY,
    population=Population(card="present"),
)


def with_contract_terms(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return raw transactions with the contract's columns, and merchant codes beside names."""
    n_rows = len(frame)
    balance = np.where(rng.random(n_rows) < 0.7, rng.normal(0, 1e9, n_rows), np.nan)
    categories = np.array(["grocery", "5411", "3007", "742", None], dtype=object)
    return frame.assign(
        currency=rng.choice(["GBP", "USD", "JPY", "KWD"], n_rows),
        balance=balance,
        entry_mode=rng.choice(["chip", "contactless", "magstripe"], n_rows),
        merchant_category=rng.choice(categories, n_rows),
    )
