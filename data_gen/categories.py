"""The public, fixed list of merchant categories and what is spent in them.

Files hold the names, so the order matters only inside the generator.
Median amounts and spreads are invented round numbers of a plausible size, not measurements.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_gen.rng import FloatArray


@dataclass(frozen=True)
class Category:
    """One merchant category.

    Parameters
    ----------
    name : str
        As written to ``merchant_category``.
    median_amount : float
        Median purchase in major currency units.
    log_spread : float
        Standard deviation of the log amount.
    pos_share, online_share : float
        Relative number of merchants of this category with terminals, and online.
    """

    name: str
    median_amount: float
    log_spread: float
    pos_share: float
    online_share: float


CATEGORIES: Final = (
    Category("grocery", 24.0, 0.75, 22.0, 3.0),
    Category("fuel", 45.0, 0.45, 7.0, 0.0),
    Category("restaurant", 22.0, 0.65, 16.0, 4.0),
    Category("transport", 12.0, 0.80, 5.0, 6.0),
    Category("travel", 210.0, 0.85, 2.0, 8.0),
    Category("fashion", 48.0, 0.75, 8.0, 14.0),
    Category("electronics", 130.0, 1.00, 4.0, 10.0),
    Category("home_garden", 55.0, 0.90, 6.0, 8.0),
    Category("health", 25.0, 0.70, 7.0, 4.0),
    Category("beauty", 30.0, 0.60, 4.0, 4.0),
    Category("sports", 45.0, 0.75, 3.0, 5.0),
    Category("books_media", 18.0, 0.60, 2.0, 6.0),
    Category("digital_goods", 9.0, 0.80, 0.0, 12.0),
    Category("gaming", 20.0, 0.80, 0.0, 8.0),
    Category("gift_cards", 50.0, 0.60, 1.0, 3.0),
    Category("jewellery", 160.0, 0.95, 1.5, 2.0),
    Category("entertainment", 28.0, 0.65, 4.0, 5.0),
    Category("services", 65.0, 0.90, 5.0, 5.0),
    Category("cash", 90.0, 0.55, 0.0, 0.0),
)

CATEGORY_NAMES: Final = tuple(category.name for category in CATEGORIES)

# Log of the median in minor units (cents).
AMOUNT_LOG_MEDIAN: Final[FloatArray] = np.log([100.0 * c.median_amount for c in CATEGORIES])
AMOUNT_LOG_SPREAD: Final[FloatArray] = np.array([c.log_spread for c in CATEGORIES])
POS_SHARE: Final[FloatArray] = np.array([c.pos_share for c in CATEGORIES])
ONLINE_SHARE: Final[FloatArray] = np.array([c.online_share for c in CATEGORIES])


def category_index(name: str) -> int:
    """Return the position of a category in the list."""
    return CATEGORY_NAMES.index(name)
