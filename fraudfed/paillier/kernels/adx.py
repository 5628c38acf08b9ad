"""The kernel of processors without AVX-512 IFMA: one power after the other, in C (``_adx.c``).

For odd roots of up to 3130 bits, that is for keys of 2048 and 3072 bits with or without the
factors, and 4096 bits with them; others are computed by GMP.
"""

from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels.compiled import Arithmetic

#: The sizes are those of P of a 2048- and of a 3072-bit key, and of their N.
ADX = Arithmetic(
    name="adx",
    native=load_native("fraudfed.paillier.kernels._adx"),
    instructions="BMI2 and ADX",
    limb_bits=64,
    sizes=(17, 25, 33, 49),
    lanes=1,
)
