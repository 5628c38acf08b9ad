"""Synthetic transactions and credit applications of several banks that share what others see.

Data flow of transactions, one noun per module, with no way back::

    settings -> entities (banks, places, payees, people, customers)
             -> behaviour (everyday, occasions)
             -> fraud (campaigns, episodes; card, account, payment, mules, first party)
             -> world (accounts, blocking, labels) -> identifiers
             -> writing (spool, table_files, content, tally, output, manifest)

    schema -> checking (table_reader, validator)
              describing (summary, describe, figures, plots)

``credit`` is a world of its own, with the same files, manifest and validator. Every person,
merchant, payment and loan in the output is invented.
"""

from data_gen.version import GENERATOR_VERSION

__all__ = ["GENERATOR_VERSION"]
