"""Synthetic card and payment transactions of several banks that share merchants and payees.

Data flow, one noun per module, with no way back::

    config -> entities (banks, places, payees, people, customers)
           -> behaviour (everyday, occasions)
           -> fraud (campaigns, episodes; card, account, payment, mules, first party)
           -> accounts -> blocking -> labels -> world -> identifiers -> output

Every person, merchant and payment in the output is invented.
"""

from data_gen.version import GENERATOR_VERSION

__all__ = ["GENERATOR_VERSION"]
