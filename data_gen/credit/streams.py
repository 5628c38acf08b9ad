"""Random streams of the credit data: one per part, named by a fixed number."""

from enum import IntEnum


class CreditPart(IntEnum):
    """Fixed stream numbers, apart from those of transactions. Never renumber: add at the end."""

    BANKS = 1001
    PEOPLE = 1002
    SEARCHES = 1003
    TERMS = 1004
    BUREAU = 1005
    OUTCOMES = 1006
