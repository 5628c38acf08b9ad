"""What peers encrypt with: CKKS by TenSEAL, with the parameters that NVFlare sets.

TenSEAL is no dependency of the product: ``pip install 'fraudfed[bench]'``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fraudfed.lab.bench.machine import installed_version

TENSEAL_MISSING = (
    "TenSEAL is not installed: no comparison with CKKS (pip install 'fraudfed[bench]')"
)

#: NVFlare 2.9: app_opt/he and the secure plugins of its XGBoost integration.
_POLY_MODULUS_DEGREE = 8192
_COEFFICIENT_BITS = [60, 40, 40]
_SCALE = 2.0**40
#: Values of one full ciphertext.
_SLOTS = _POLY_MODULUS_DEGREE // 2


@dataclass(frozen=True)
class CkksCost:
    """Cost of CKKS per value in full ciphertexts, one thread; the least of all repetitions.

    Attributes
    ----------
    encrypt_microseconds : float
        From a list of floats to the bytes that are sent.
    decrypt_microseconds : float
        From a ciphertext in memory to floats.
    values_per_second : float
        Encrypted.
    bytes_per_value : float
    largest_error : float
        Of a decrypted value whose size is about 1: CKKS computes approximately.
    poly_modulus_degree : int
    coefficient_bits : tuple of int
    version : str
        TenSEAL's.
    """

    encrypt_microseconds: float
    decrypt_microseconds: float
    values_per_second: float
    bytes_per_value: float
    largest_error: float
    poly_modulus_degree: int
    coefficient_bits: tuple[int, ...]
    version: str

    def to_lines(self) -> list[str]:
        """Return a line for the terminal."""
        return [
            f"CKKS      {self.values_per_second / 1e6:.2f} M values/s and core encrypted, "
            f"{self.bytes_per_value:.1f} bytes per value, error {self.largest_error:.0e} "
            f"(TenSEAL {self.version}, poly {self.poly_modulus_degree}, "
            f"coeff_mod {'/'.join(map(str, self.coefficient_bits))})"
        ]


def measure_ckks(*, repeats: int) -> CkksCost | None:
    """Encrypt and decrypt one full ciphertext, several times; None where TenSEAL is missing."""
    version = installed_version("tenseal")
    if version is None:
        return None
    import tenseal

    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        poly_modulus_degree=_POLY_MODULUS_DEGREE,
        coeff_mod_bit_sizes=_COEFFICIENT_BITS,
        n_threads=1,
    )
    context.global_scale = _SCALE
    values = np.random.default_rng(0).standard_normal(_SLOTS)
    listed = values.tolist()
    sent = tenseal.ckks_vector(context, listed).serialize()
    vector = tenseal.ckks_vector_from(context, sent)
    encrypt = _least(lambda: tenseal.ckks_vector(context, listed).serialize(), repeats)
    decrypt = _least(vector.decrypt, repeats)
    return CkksCost(
        encrypt_microseconds=encrypt / _SLOTS * 1e6,
        decrypt_microseconds=decrypt / _SLOTS * 1e6,
        values_per_second=_SLOTS / encrypt,
        bytes_per_value=len(sent) / _SLOTS,
        largest_error=float(np.abs(np.array(vector.decrypt()) - values).max()),
        poly_modulus_degree=_POLY_MODULUS_DEGREE,
        coefficient_bits=tuple(_COEFFICIENT_BITS),
        version=version,
    )


def _least(step: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
