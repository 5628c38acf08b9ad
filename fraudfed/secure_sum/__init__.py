"""An exact sum of integer vectors that nobody sees but the members, and they all at once or not.

Law: ``combine(open(product of seal_i(x_i))) = sum of x_i``, exactly, for all int64 vectors whose
sum is within its bounds; anything else is an error that names the kind of fault, the same at every
bank. Data flows: ``packing`` (slots) -> ``tags`` -> ``header`` -> ``plaintexts`` -> ``masks`` ->
``openings`` -> ``session``; ``context`` and ``transcript`` say what is summed and what came before,
``derivation`` makes every key and stream, ``faults`` names what can go wrong.
``docs/cryptography.md`` has the construction and its proofs.
"""
