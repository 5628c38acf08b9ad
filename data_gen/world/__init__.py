"""A world of transactions: every bank's events, their accounts, blocked attempts and labels.

``making`` puts the steps in order; ``distance`` measures how far banks are from each other.
"""
