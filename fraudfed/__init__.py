"""fraudfed: banks train one XGBoost-compatible fraud model over an encrypted sum.

This package holds what both sides agree on: cryptosystem, secure sum, boosting, features,
evaluation and wire messages. The programs are ``bank_node`` and ``aggregator``.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
