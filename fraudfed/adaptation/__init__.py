"""A shared model fitted to one bank: its own further models, and probabilities beside a score.

All of it is computed from the rows of one bank, on its own machine, and stays there.
"""
