"""Shared risk at a bank: taking part in its runs, and using their tables.

``run`` sums tables with the other banks, ``history`` chooses those that a contract needs, and
``report`` describes them.
"""
