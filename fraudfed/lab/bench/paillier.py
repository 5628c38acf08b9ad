"""``fraudfed bench paillier``: our kernels against ``phe``, ciphertext by ciphertext.

All sides work under the same key, and by turns: what else the machine does hits each alike.
"""

import math
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import numpy as np
from gmpy2 import mpz
from phe import paillier as phe

from fraudfed.dtypes import Int64Array
from fraudfed.lab.bench.ckks import TENSEAL_MISSING, CkksCost, measure_ckks
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import figures_of, key_bits_option, number_option, threads_option
from fraudfed.paillier.kernels.kernel import kernel_names, select_kernel
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.secure_sum.packing import SlotLayout

#: Ciphertexts of one measurement: enough to fill the lanes of every thread many times.
_BATCH = 256
#: phe takes tens of milliseconds for one.
_PHE_BATCH = 3
#: Ciphertexts of packed values in one measurement.
_PACKED_CIPHERTEXTS = 512


@dataclass(frozen=True)
class PheCost:
    """phe on one ciphertext, one thread: it has no other way.

    Attributes
    ----------
    encrypt_microseconds : float
        ``raw_encrypt``, with obfuscation.
    decrypt_microseconds : float
        ``raw_decrypt`` of phe's own private key.
    """

    encrypt_microseconds: float
    decrypt_microseconds: float


@dataclass(frozen=True)
class PackedRate:
    """Values that one kernel packs and encrypts with all threads.

    Attributes
    ----------
    value_bits : int
        Bits of the bound of a value's absolute sum over all banks.
    values_per_ciphertext, values_per_second, bytes_per_value : float
    """

    value_bits: int
    values_per_ciphertext: float
    values_per_second: float
    bytes_per_value: float


@dataclass(frozen=True)
class KernelCost:
    """One kernel per ciphertext, on one thread and on all.

    Attributes
    ----------
    kernel : str
    encrypt_microseconds, encrypt_microseconds_all_threads : float
        From signed integers to bytes; the table of powers is made before.
    decrypt_microseconds, decrypt_microseconds_all_threads : float
    encrypt_ratio, encrypt_ratio_all_threads : float
        How many times as fast as phe, which uses one thread in both.
    decrypt_ratio, decrypt_ratio_all_threads : float
    packed : tuple of PackedRate
    """

    kernel: str
    encrypt_microseconds: float
    encrypt_microseconds_all_threads: float
    decrypt_microseconds: float
    decrypt_microseconds_all_threads: float
    encrypt_ratio: float
    encrypt_ratio_all_threads: float
    decrypt_ratio: float
    decrypt_ratio_all_threads: float
    packed: tuple[PackedRate, ...]


@dataclass(frozen=True)
class PaillierFigures:
    """Everything measured; each time is the least of all repetitions.

    Attributes
    ----------
    phe : PheCost
    kernels : tuple of KernelCost
        Fastest first.
    ckks : CkksCost or None
        None where TenSEAL is not installed.
    key_bits, threads, repeats : int
    date : str
        UTC, ISO 8601.
    load_average : float
        Of the machine in the minute before.
    machine : Machine
    """

    phe: PheCost
    kernels: tuple[KernelCost, ...]
    ckks: CkksCost | None
    key_bits: int
    threads: int
    repeats: int
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal."""
        lines = ["us per ciphertext        encrypt             decrypt"]
        lines.append(
            f"phe                {self.phe.encrypt_microseconds:13.0f} "
            f"{self.phe.decrypt_microseconds:19.0f}"
        )
        for cost in self.kernels:
            rows = (
                (
                    "one thread",
                    *(cost.encrypt_microseconds, cost.encrypt_ratio),
                    *(cost.decrypt_microseconds, cost.decrypt_ratio),
                ),
                (
                    f"{self.threads} threads",
                    *(cost.encrypt_microseconds_all_threads, cost.encrypt_ratio_all_threads),
                    *(cost.decrypt_microseconds_all_threads, cost.decrypt_ratio_all_threads),
                ),
            )
            lines += [
                f"{cost.kernel:<5} {name:<11} {enc:13.1f} ({faster:5.1f}x) "
                f"{dec:10.1f} ({sooner:5.1f}x)"
                for name, enc, faster, dec, sooner in rows
            ]
        lines += [
            f"{cost.kernel:<5} packed: {rate.values_per_second / 1e6:.2f} M values/s of "
            f"{rate.value_bits} bits on {self.threads} threads, "
            f"{rate.bytes_per_value:.1f} bytes per value"
            for cost in self.kernels
            for rate in cost.packed
        ]
        lines += [TENSEAL_MISSING] if self.ckks is None else self.ckks.to_lines()
        lines += [
            f"key       {self.key_bits} bits; least of {self.repeats}",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)


def run_paillier(
    key: PrivateKey, *, value_bits: Sequence[int] = (48,), threads: int = 1, repeats: int = 5
) -> PaillierFigures:
    """Measure every kernel of this installation under one key, and phe under the same.

    Parameters
    ----------
    key : PrivateKey
        Of the fast scheme, made for the measurement.
    value_bits : sequence of int
        Bits of the bound of packed values, each up to 62.
    threads : int
        What "all" are.
    repeats : int
    """
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    parts = {name: mpz(value) for name, value in key.expose_secret_parts().items()}
    primes, subgroups = (parts["P"], parts["Q"]), (parts["p"], parts["q"])
    public = phe.PaillierPublicKey(key.public.n)
    theirs = _Phe(public, phe.PaillierPrivateKey(public, *map(int, primes)))
    kernels = {
        name: _Ours(PrivateKey(key.public, primes, subgroups, kernel=select_kernel(name)))
        for name in kernel_names()
    }
    steps: dict[tuple[str, ...], Callable[[], object]] = {
        ("phe", "encrypt"): theirs.encrypt,
        ("phe", "decrypt"): theirs.decrypt,
    }
    for name, ours in kernels.items():
        theirs.check(ours)
        for used in {1, threads}:
            steps[name, "encrypt", str(used)] = ours.encryption(used)
            steps[name, "decrypt", str(used)] = ours.decryption(used)
        for bits in value_bits:
            steps[name, "packed", str(bits)] = ours.packing(bits, threads)
    least = dict.fromkeys(steps, math.inf)
    for _ in range(repeats):
        for what, step in steps.items():
            started = time.perf_counter()
            step()
            least[what] = min(least[what], time.perf_counter() - started)
    phe_cost = PheCost(*(least["phe", step] / _PHE_BATCH * 1e6 for step in ("encrypt", "decrypt")))
    return PaillierFigures(
        phe=phe_cost,
        kernels=tuple(
            _cost(name, ours, least, phe_cost, value_bits=value_bits, threads=threads)
            for name, ours in kernels.items()
        ),
        ckks=measure_ckks(repeats=5 * repeats),
        key_bits=key.public.key_bits,
        threads=threads,
        repeats=repeats,
        date=date,
        load_average=load,
        machine=Machine.here("phe", "gmpy2", "tenseal"),
    )


def _cost(
    name: str,
    ours: "_Ours",
    least: dict[tuple[str, ...], float],
    phe_cost: PheCost,
    *,
    value_bits: Sequence[int],
    threads: int,
) -> KernelCost:
    encrypt, encrypt_all, decrypt, decrypt_all = (
        least[name, step, str(used)] / _BATCH * 1e6
        for step in ("encrypt", "decrypt")
        for used in (1, threads)
    )
    packed = []
    for bits in value_bits:
        layout, values = ours.packed_values(bits)
        packed.append(
            PackedRate(
                value_bits=bits,
                values_per_ciphertext=values.size / layout.n_plaintexts,
                values_per_second=values.size / least[name, "packed", str(bits)],
                bytes_per_value=layout.n_plaintexts * ours.ciphertext_bytes / values.size,
            )
        )
    return KernelCost(
        kernel=name,
        encrypt_microseconds=encrypt,
        encrypt_microseconds_all_threads=encrypt_all,
        decrypt_microseconds=decrypt,
        decrypt_microseconds_all_threads=decrypt_all,
        encrypt_ratio=phe_cost.encrypt_microseconds / encrypt,
        encrypt_ratio_all_threads=phe_cost.encrypt_microseconds / encrypt_all,
        decrypt_ratio=phe_cost.decrypt_microseconds / decrypt,
        decrypt_ratio_all_threads=phe_cost.decrypt_microseconds / decrypt_all,
        packed=tuple(packed),
    )


class _Ours:
    """One of our kernels."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        half = key.public.n // 4
        # Full plaintexts: short ones would be cheaper to add.
        self.plaintexts = [secrets.randbelow(2 * half) - half for _ in range(_BATCH)]
        self.vector = key.encryptor().encrypt(self.plaintexts)
        self.ciphertext_bytes = key.public.ciphertext_bytes
        _check(key.decrypt(self.vector) == self.plaintexts)

    def encryption(self, threads: int) -> Callable[[], object]:
        encryptor = self._key.encryptor(threads=threads)
        return lambda: encryptor.encrypt(self.plaintexts)

    def decryption(self, threads: int) -> Callable[[], object]:
        return lambda: self._key.decrypt(self.vector, threads=threads)

    def packing(self, bits: int, threads: int) -> Callable[[], object]:
        layout, values = self.packed_values(bits)
        encryptor = self._key.encryptor(threads=threads)
        return lambda: encryptor.encrypt(layout.join(layout.flat(values)))

    def packed_values(self, bits: int) -> tuple[SlotLayout, Int64Array]:
        """Return values that fill ``_PACKED_CIPHERTEXTS`` plaintexts, or one slot less."""
        bound, plaintext_bits = (1 << bits) - 1, self._key.public.plaintext_bits
        count = _PACKED_CIPHERTEXTS
        while True:
            layout = SlotLayout.for_bounds(bound, (count,), plaintext_bits=plaintext_bits)
            if layout.n_plaintexts >= _PACKED_CIPHERTEXTS:
                break
            count = count * _PACKED_CIPHERTEXTS // layout.n_plaintexts
        values = np.random.default_rng(0).integers(-bound, bound, count, endpoint=True)
        return layout, values


class _Phe:
    """phe under the same key."""

    def __init__(self, public: phe.PaillierPublicKey, private: phe.PaillierPrivateKey) -> None:
        self._public, self._private = public, private
        self._plaintexts = [secrets.randbelow(public.n) for _ in range(_PHE_BATCH)]
        self._ciphertexts = self.encrypt()

    def encrypt(self) -> list[int]:
        return [self._public.raw_encrypt(plaintext) for plaintext in self._plaintexts]

    def decrypt(self) -> None:
        opened = [self._private.raw_decrypt(ciphertext) for ciphertext in self._ciphertexts]
        _check(opened == self._plaintexts)

    def check(self, ours: _Ours) -> None:
        """Refuse to compare with ciphertexts that phe does not read."""
        for plaintext, ciphertext in zip(
            ours.plaintexts[:_PHE_BATCH], ours.vector.integers(), strict=False
        ):
            _check(self._private.raw_decrypt(int(ciphertext)) == plaintext % self._public.n)


def _check(right: bool) -> None:
    if not right:
        raise AssertionError("the benchmark measured a ciphertext that does not decrypt")


@click.command("paillier")
@key_bits_option
@click.option(
    "--value-bits",
    type=click.IntRange(1, 62),
    multiple=True,
    default=(48,),
    show_default=True,
    help="Bits of the bound of packed values; may be given several times.",
)
@threads_option("Threads of the second measurement of each.")
@number_option("--repeats", 5, "Repetitions of each measurement; the least counts.")
@figures_of(PaillierFigures)
def paillier_command(
    key_bits: int, value_bits: tuple[int, ...], threads: int, repeats: int
) -> PaillierFigures:
    """Compare encryption and decryption by each kernel with phe, and with CKKS."""
    return run_paillier(
        PrivateKey.generate(key_bits),
        value_bits=value_bits,
        threads=threads,
        repeats=repeats,
    )
