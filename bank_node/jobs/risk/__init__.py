"""Shared risk at a bank: taking part in its runs, keeping their tables, and using them.

``run`` sums tables with the other banks, ``file`` keeps them, ``history`` chooses those that a
contract needs, ``days`` says whether they reach far enough, ``report`` and ``commands`` show them.
"""
