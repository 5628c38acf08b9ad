"""What hides a sealed vector: ``pairwise`` for good, ``self_masks`` until the seed is revealed.

Both are made of ``streams``: signed sums of numbers that are uniform modulo a modulus.
"""
