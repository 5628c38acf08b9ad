"""Paillier's cryptosystem in the fast form of Ma, Han and Lei (ACSAC 2021), on arrays.

Data flows: ``keys`` -> ``noise`` -> ``encryption`` -> ``vector``; ``private_key`` (with ``primes``
its ``halves``, ``key_holder_noise`` and ``pheutil``) is the only part that holds a secret.
``kernel`` chooses who computes the powers, ``gmp`` or one that is ``compiled``: ``ifma``, ``adx``.
``ifma_key`` does a key holder's whole work in C. ``residues`` says in what form numbers go between
them. Nothing but ``private_key`` and its parts imports those: a program that only multiplies
ciphertexts has no decryption code in reach.
"""
