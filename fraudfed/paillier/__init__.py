"""Paillier's cryptosystem in the fast form of Ma, Han and Lei (ACSAC 2021), on arrays.

Data flows: ``keys`` -> ``noise`` -> ``encryption`` -> ``vector``; ``private_key`` (with ``primes``
and ``pheutil``) is the only part that holds a secret. ``kernel`` and ``gmp`` do the
exponentiations. Nothing but ``private_key`` itself imports ``private_key``: a program that only
multiplies ciphertexts has no decryption code in reach.
"""
