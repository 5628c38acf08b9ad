"""The fast kernel: eight powers side by side with AVX-512 IFMA, in C (``_ifma.c``).

For odd roots of up to 3114 bits, that is for keys of 2048 and 3072 bits with or without the
factors, and 4096 bits with them; others are computed by GMP.
"""

from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels.compiled import Arithmetic

#: The instructions multiply 52 bits by 52 bits, in eight lanes. The sizes are those of P of a 2048-
#: and of a 3072-bit key, and of their N.
IFMA = Arithmetic(
    name="ifma",
    native=load_native("fraudfed.paillier.kernels._ifma"),
    instructions="AVX-512 IFMA",
    limb_bits=52,
    sizes=(20, 30, 40, 60),
    lanes=8,
)
