"""Merchant category codes of ISO 18245, and which of our names each has.

The standard divides 0001 to 9999 into ranges, and names some hundred codes in them. Here every code
has the name of its range, unless a narrower entry says otherwise; a code that is newer than this
list is named by its range too. 0000 is outside the standard. Source: ISO 18245:2003, and the codes
that card schemes have added since in the same ranges.
"""

from typing import Final

from fraudfed.payments.columns import MERCHANT_CATEGORIES

#: First and last code and our name; a later entry replaces an earlier one where they overlap.
RANGES: Final[tuple[tuple[int, int, str], ...]] = (
    (1, 1499, "services"),  # agriculture
    (1500, 2999, "services"),  # contractors
    (3000, 3999, "travel"),  # airlines, car rental and hotels, one by one
    (4000, 4799, "transport"),
    (4411, 4411, "travel"),  # cruises
    (4511, 4582, "travel"),  # airlines and airports
    (4722, 4723, "travel"),  # travel agencies
    (4800, 4999, "services"),  # telephone, money transfer, utilities
    (4812, 4812, "electronics"),  # telephones
    (4816, 4816, "digital_goods"),  # information services in the internet
    (5000, 5099, "home_garden"),  # wholesale, durable
    (5013, 5013, "transport"),  # parts of vehicles
    (5044, 5045, "electronics"),
    (5047, 5047, "health"),
    (5065, 5065, "electronics"),
    (5094, 5094, "jewellery"),
    (5100, 5199, "services"),  # wholesale, not durable
    (5111, 5111, "books_media"),
    (5122, 5122, "health"),
    (5131, 5139, "fashion"),
    (5172, 5172, "fuel"),
    (5192, 5192, "books_media"),
    (5193, 5198, "home_garden"),
    (5200, 5299, "home_garden"),
    (5262, 5262, "services"),  # marketplaces
    (5300, 5399, "services"),  # department and variety stores
    (5300, 5300, "grocery"),  # wholesale clubs
    (5400, 5499, "grocery"),
    (5500, 5599, "transport"),  # vehicles and their parts
    (5541, 5542, "fuel"),
    (5552, 5552, "fuel"),  # charging of electric vehicles
    (5600, 5699, "fashion"),
    (5655, 5655, "sports"),
    (5700, 5799, "home_garden"),
    (5722, 5722, "electronics"),
    (5732, 5732, "electronics"),
    (5733, 5733, "books_media"),
    (5734, 5734, "electronics"),
    (5735, 5735, "books_media"),
    (5800, 5899, "restaurant"),
    (5815, 5818, "digital_goods"),
    (5816, 5816, "gaming"),
    (5832, 5832, "home_garden"),  # antiques
    (5900, 5999, "services"),  # other shops
    (5912, 5912, "health"),
    (5921, 5921, "grocery"),
    (5931, 5937, "home_garden"),  # second hand and antiques
    (5940, 5941, "sports"),
    (5942, 5943, "books_media"),
    (5944, 5944, "jewellery"),
    (5945, 5945, "gaming"),  # toys and games
    (5946, 5946, "electronics"),
    (5947, 5947, "gift_cards"),
    (5948, 5949, "fashion"),
    (5950, 5950, "home_garden"),
    (5960, 5969, "services"),  # direct marketing
    (5962, 5962, "travel"),
    (5970, 5971, "home_garden"),
    (5972, 5972, "jewellery"),  # coins and stamps
    (5975, 5976, "health"),
    (5977, 5977, "beauty"),
    (5978, 5978, "electronics"),
    (5983, 5983, "fuel"),
    (5992, 5992, "home_garden"),
    (5993, 5993, "grocery"),
    (5994, 5994, "books_media"),
    (5995, 5996, "home_garden"),
    (5997, 5997, "electronics"),
    (5998, 5998, "sports"),
    (6000, 6999, "services"),  # banks, brokers, insurance, property
    (6010, 6011, "cash"),
    (6050, 6051, "cash"),  # quasi cash
    (6538, 6540, "gift_cards"),  # stored value
    (7000, 7299, "services"),
    (7011, 7012, "travel"),
    (7032, 7033, "travel"),
    (7230, 7230, "beauty"),
    (7296, 7296, "fashion"),
    (7297, 7298, "beauty"),
    (7300, 7799, "services"),
    (7500, 7599, "transport"),  # rental, parking and repair of vehicles
    (7512, 7519, "travel"),
    (7800, 7999, "entertainment"),
    (7800, 7802, "gaming"),  # lotteries, casinos, races
    (7941, 7941, "sports"),
    (7992, 7992, "sports"),
    (7993, 7995, "gaming"),
    (7997, 7997, "sports"),
    (8000, 8999, "services"),  # professions, schools, associations
    (8000, 8099, "health"),
    (9000, 9999, "services"),  # authorities
    (9752, 9754, "gaming"),  # horse and dog races
)


def _by_code() -> dict[str, str]:
    names: dict[str, str] = {}
    for first, last, name in RANGES:
        for code in range(first, last + 1):
            names[f"{code:04d}"] = name
    # What a spreadsheet or a column of numbers leaves of 0742.
    short = {code.lstrip("0"): name for code, name in names.items() if code.startswith("0")}
    return names | short


#: Our name by code: four digits, or fewer where zeros in front were lost.
CATEGORY_OF_CODE: Final[dict[str, str]] = _by_code()
#: Our own name stands for itself, so that a column may hold both.
CATEGORY_OF: Final[dict[str, str]] = {name: name for name in MERCHANT_CATEGORIES} | CATEGORY_OF_CODE
