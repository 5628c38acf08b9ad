"""Features of incoming payments, as the receiving bank computes them.

``formulas`` computes what ``fraudfed.catalogue.inbound`` defines. ``build`` finds what the formulas
need for a whole table; ``online`` finds it for one payment at a time in the ``history`` that it
keeps, with the same bits.
"""

from fraudfed.features.inbound.build import build_inbound_features
from fraudfed.features.inbound.online import OnlineInboundFeatures

__all__ = ["OnlineInboundFeatures", "build_inbound_features"]
