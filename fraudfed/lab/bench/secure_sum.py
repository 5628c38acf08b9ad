"""What a secure sum costs: against bare Paillier on the same values, and against CKKS.

The bare side packs the same digits into plaintexts without a header, encrypts and decrypts them.
It lives here only: the product has no way to leave masks or tags out. On request the same number of
values is summed with noise, as under privacy terms, beside the exact sum.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce

import click
import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.lab.bench.ckks import TENSEAL_MISSING, CkksCost, measure_ckks
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import figures_of, key_bits_option, number_option, threads_option
from fraudfed.paillier.kernels.kernel import select_kernel
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.privacy.noise.drawing import part_variance, tail
from fraudfed.privacy.noise.sampler import sample
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.header import HEADER_BITS, MAXIMUM_BANKS
from fraudfed.secure_sum.noise_keys import new_noise_key
from fraudfed.secure_sum.openings import centred
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum

#: Bits of the bound of a value: the gradients of 2^16 rows in fixed point with 32 fractional bits.
_BOUND_BITS = 48
#: Under privacy terms: 16 fractional bits, noise of a sigma of 64 rows, and one tolerated colluder.
_NOISED_BOUND_BITS = 32
_NOISE_VARIANCE = 1 << 44
_COLLUDERS = 1
#: As ``bank_node.run.sums.noising``: what fixes how far the noise may reach.
_VALUES_OF_A_RUN = 1 << 40


@dataclass(frozen=True)
class NoisedCost:
    """Cost of a sum with noise for one bank, per value, and against the exact sum of one shape.

    Attributes
    ----------
    seal_microseconds, seal_ratio : float
        From the values to the payload: key, draw and adding included.
    open_microseconds, open_ratio : float
    total_ratio : float
        Sealing and opening together.
    draws_per_second : float
        Of the sampler alone, on one core.
    bytes, bytes_ratio : float
        Slots have 16 fractional bits less, and room for the noise.
    """

    seal_microseconds: float
    seal_ratio: float
    open_microseconds: float
    open_ratio: float
    total_ratio: float
    draws_per_second: float
    bytes: float
    bytes_ratio: float


@dataclass(frozen=True)
class CohortCost:
    """Cost for one bank of a cohort, per value; the least of all repetitions.

    Microseconds are CPU time on one thread.

    Attributes
    ----------
    banks : int
    seal_microseconds, bare_seal_microseconds : float
        From the values to the payload of a contribution, noise included.
    seal_ratio : float
        The first divided by the second.
    open_microseconds, bare_open_microseconds : float
        From this bank's shard of the product and all banks' openings to the sum.
    open_ratio : float
    bytes, bare_bytes : float
        Of the contribution's ciphertexts.
    bytes_ratio : float
    seal_values_per_second, open_values_per_second : float
        Of the secure sum in wall time, with all threads. What is opened is this bank's shard, so
        that k banks open k times as many values in the same time.
    noised : NoisedCost or None
        With ``--noise``, from three banks on.
    """

    banks: int
    seal_microseconds: float
    bare_seal_microseconds: float
    seal_ratio: float
    open_microseconds: float
    bare_open_microseconds: float
    open_ratio: float
    bytes: float
    bare_bytes: float
    bytes_ratio: float
    seal_values_per_second: float
    open_values_per_second: float
    noised: NoisedCost | None = None


@dataclass(frozen=True)
class SecureSumResult:
    """Costs with masks, counts and tags and without, for some sizes of a cohort.

    Attributes
    ----------
    cohorts : tuple of CohortCost
    values, bound_bits, key_bits, threads, repeats : int
    kernel : str
    ckks : CkksCost or None
        What peers use, per value; None where TenSEAL is not installed.
    date : str
        UTC, ISO 8601.
    load_average : float
        Of the machine in the minute before.
    machine : Machine
    """

    cohorts: tuple[CohortCost, ...]
    values: int
    bound_bits: int
    key_bits: int
    threads: int
    repeats: int
    kernel: str
    ckks: CkksCost | None
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a short report for the terminal."""
        lines = ["banks                    with   without   ratio   (per value)"]
        for cost in self.cohorts:
            rows = (
                ("seal, us ", cost.seal_microseconds, cost.bare_seal_microseconds, cost.seal_ratio),
                ("open, us ", cost.open_microseconds, cost.bare_open_microseconds, cost.open_ratio),
                ("bytes    ", cost.bytes, cost.bare_bytes, cost.bytes_ratio),
            )
            lines += [
                f"{cost.banks:5}  {name}  {own:12.3f}  {bare:8.3f}  {ratio:6.3f}"
                for name, own, bare, ratio in rows
            ]
        lines += [
            f"{cost.banks:5}  on {self.threads} threads: "
            f"{cost.seal_values_per_second / 1e6:.2f} M values/s sealed, "
            f"{cost.open_values_per_second / 1e6:.2f} M values/s opened"
            for cost in self.cohorts
        ]
        lines += [
            f"{cost.banks:5}  with noise: seal {noised.seal_ratio:.3f}, open "
            f"{noised.open_ratio:.3f}, together {noised.total_ratio:.3f}, bytes "
            f"{noised.bytes_ratio:.3f} of the exact sum; {noised.draws_per_second / 1e6:.2f} M "
            "draws/s"
            for cost in self.cohorts
            if (noised := cost.noised) is not None
        ]
        lines += [TENSEAL_MISSING] if self.ckks is None else self.ckks.to_lines()
        lines += [
            f"values    {self.values} of {self.bound_bits} bits, key {self.key_bits} bits, "
            f"kernel {self.kernel}, best of {self.repeats}",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)


def run_secure_sum(
    package: KeyPackage,
    *,
    banks: tuple[int, ...],
    values: int,
    threads: int = 1,
    repeats: int = 5,
    noise: bool = False,
) -> SecureSumResult:
    """Measure one bank's work in cohorts of these sizes.

    Parameters
    ----------
    package : KeyPackage
    banks : tuple of int
    values : int
        Length of the summed vector.
    threads : int
        Of the measurement in wall time.
    repeats : int
        Repetitions of each side, by turns.
    noise : bool
        Measure sums with noise, too.
    """
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    largest = np.int64((1 << _BOUND_BITS) // max(banks))
    # Any values cost the same; these fill their slots.
    part = (np.arange(values, dtype=np.int64) * 0x9E3779B97F4A7C1) % (2 * largest) - largest
    return SecureSumResult(
        cohorts=tuple(
            _measure(package, count, part, threads=threads, repeats=repeats, noise=noise)
            for count in banks
        ),
        values=values,
        bound_bits=_BOUND_BITS,
        key_bits=package.public_key.key_bits,
        threads=threads,
        repeats=repeats,
        kernel=select_kernel().name,
        ckks=measure_ckks(repeats=5 * repeats),
        date=date,
        load_average=load,
        machine=Machine.here("gmpy2", "cryptography", "numpy", "tenseal"),
    )


def _measure(
    package: KeyPackage,
    n_banks: int,
    part: Int64Array,
    *,
    threads: int,
    repeats: int,
    noise: bool,
) -> CohortCost:
    own, bare = _Own(package, n_banks, part), _Bare(package, n_banks, part)
    threaded = _Own(package, n_banks, part, threads=threads)
    # On one thread, the time of this process is the work, whatever else the machine does.
    cpu, wall = time.process_time, time.perf_counter
    steps = [
        *((own.seal, cpu), (bare.seal, cpu), (own.open, cpu), (bare.open, cpu)),
        *((threaded.seal, wall), (threaded.open, wall)),
    ]
    noised = None
    if noise and n_banks >= _COLLUDERS + 2:
        small = part >> (_BOUND_BITS - _NOISED_BOUND_BITS)
        noised = _Noised(package, n_banks, small)
        steps += [(noised.seal, cpu), (noised.open, cpu), (noised.draw, cpu)]
    least = [float("inf")] * len(steps)
    for repeat in range(repeats):
        least = [
            min(before, _seconds(step, repeat, clock))
            for before, (step, clock) in zip(least, steps, strict=True)
        ]
    seal, bare_seal, opening, bare_opening = (seconds / part.size * 1e6 for seconds in least[:4])
    own_bytes, bare_bytes = (len(side.payload) / part.size for side in (own, bare))
    return CohortCost(
        banks=n_banks,
        seal_microseconds=seal,
        bare_seal_microseconds=bare_seal,
        seal_ratio=seal / bare_seal,
        open_microseconds=opening,
        bare_open_microseconds=bare_opening,
        open_ratio=opening / bare_opening,
        bytes=own_bytes,
        bare_bytes=bare_bytes,
        bytes_ratio=own_bytes / bare_bytes,
        seal_values_per_second=part.size / least[4],
        open_values_per_second=part.size / least[5],
        noised=None if noised is None else _noised_cost(noised, own, least, part.size),
    )


def _noised_cost(noised: "_Noised", own: "_Own", least: list[float], n_values: int) -> NoisedCost:
    seal, opening, draw = least[6:]
    own_seal, own_opening = least[0], least[2]
    return NoisedCost(
        seal_microseconds=seal / n_values * 1e6,
        seal_ratio=seal / own_seal,
        open_microseconds=opening / n_values * 1e6,
        open_ratio=opening / own_opening,
        total_ratio=(seal + opening) / (own_seal + own_opening),
        draws_per_second=n_values / draw,
        bytes=len(noised.payload) / n_values,
        bytes_ratio=len(noised.payload) / len(own.payload),
    )


def _seconds(step: Callable[[int], None], repeat: int, clock: Callable[[], float]) -> float:
    started = clock()
    step(repeat)
    return clock() - started


class _Own:
    """The secure sum as banks use it; the measured bank is the first."""

    def __init__(
        self, package: KeyPackage, n_banks: int, part: Int64Array, *, threads: int = 1
    ) -> None:
        self._part = part
        roster = tuple(f"bank{number}" for number in range(n_banks))
        identities = {name: Identity.generate() for name in roster}
        signing_keys = {name: one.public.signing_key for name, one in identities.items()}
        agreed = {
            frozenset((first, second)): secrets.token_bytes(32)
            for first in roster
            for second in roster
            if first < second
        }
        self._banks = [
            SecureSum(
                package,
                bank=name,
                roster=roster,
                roster_digest=hashlib.sha256(b"benchmark").digest(),
                pairwise={peer: agreed[frozenset((name, peer))] for peer in roster if peer != name},
                signer=identities[name],
                signing_keys=signing_keys,
                threads=threads,
            )
            for name in roster
        ]
        self._layout = self._banks[0].layout(self._bound(n_banks), part.shape)
        self._run_id = secrets.token_hex(16)
        self._context = self._new_context(0)
        # Sealed by all once, outside the measurement, so that there is something to open.
        self._sealed = [bank.seal(part, self._layout, self._context) for bank in self._banks]
        self._commitments = [one.commitment for one in self._sealed]
        product = reduce(
            CiphertextVector.product,
            [CiphertextVector(package.public_key, one.payload) for one in self._sealed],
        )
        self._shards = [product.shard(shard, n_banks).data for shard in range(n_banks)]
        self._boxes = [self._open_shard(shard) for shard in range(n_banks)]
        self.payload = self._sealed[0].payload

    def _bound(self, n_banks: int) -> int:  # noqa: ARG002 - more banks need more noise
        return 1 << _BOUND_BITS

    def _open_shard(self, shard: int) -> bytes:
        return self._banks[shard].open_shard(
            self._shards[shard],
            self._layout,
            self._context,
            shard=shard,
            seed=self._sealed[shard].seed,
            commitments=self._commitments,
        )

    def _new_context(self, round_number: int) -> RoundContext:
        bank = self._banks[0]
        return bank.context(
            self._layout,
            run_id=self._run_id,
            epoch=0,
            round_number=round_number,
            label="bench",
            transcript=bank.begin_transcript(),
        )

    def seal(self, repeat: int) -> None:
        context = self._new_context(1 + repeat)
        self._banks[0].seal(self._part, self._layout, context)

    def open(self, repeat: int) -> None:  # noqa: ARG002 - same shape as the other steps
        self._open_shard(0)
        total = self._banks[0].combine(
            self._boxes, self._layout, self._context, commitments=self._commitments
        )
        _check(total, self._part, len(self._banks))


class _Noised(_Own):
    """The same with noise of the measured bank; what is opened holds none, and costs the same."""

    def _bound(self, n_banks: int) -> int:
        reach = tail(
            _NOISE_VARIANCE,
            n_banks=n_banks,
            tolerated_colluders=_COLLUDERS,
            n_values=_VALUES_OF_A_RUN,
        )
        return (1 << _NOISED_BOUND_BITS) + int(reach)

    def draw(self, repeat: int) -> None:
        self._noise(self._new_context(1 + repeat))

    def seal(self, repeat: int) -> None:
        context = self._new_context(1 + repeat)
        self._banks[0].seal(self._part + self._noise(context), self._layout, context)

    def _noise(self, context: RoundContext) -> Int64Array:
        parts = part_variance(
            _NOISE_VARIANCE, n_banks=len(self._banks), tolerated_colluders=_COLLUDERS
        )
        key = new_noise_key(context, self._part, bank="bank0")
        return sample(np.full(self._part.shape, int(parts), dtype=np.int64), key)


class _Bare:
    """Packing, Paillier and sealed openings alone."""

    def __init__(self, package: KeyPackage, n_banks: int, part: Int64Array) -> None:
        self._package = package
        self._part = part
        self._n_banks = n_banks
        key = package.public_key
        # Plaintexts that are longer by the header, moved down by it, have none.
        self._layout = SlotLayout.for_bounds(
            1 << _BOUND_BITS, part.shape, plaintext_bits=key.plaintext_bits + HEADER_BITS
        )
        self._encryptor = package.private_key.encryptor()
        self.payload = self._sealed()
        vector = CiphertextVector(key, self.payload)
        product = reduce(CiphertextVector.product, [vector] * n_banks)
        self._shard = product.shard(0, n_banks)
        # No consortium's: the boxes of a sum without masks need neither context nor signature.
        self._key = secrets.token_bytes(32)
        self._boxes = [self._box(product.shard(shard, n_banks)) for shard in range(n_banks)]

    def _sealed(self) -> bytes:
        plaintexts = self._layout.join(self._layout.flat(self._part))
        return self._encryptor.encrypt([plain >> HEADER_BITS for plain in plaintexts]).data

    def _box(self, shard: CiphertextVector) -> bytes:
        key = self._package.public_key
        opened = self._package.private_key.decrypt(shard)
        data = b"".join([(plain % key.n).to_bytes(key.plaintext_bytes, "big") for plain in opened])
        nonce = secrets.token_bytes(12)
        return nonce + ChaCha20Poly1305(self._key).encrypt(nonce, data, None)

    def seal(self, repeat: int) -> None:  # noqa: ARG002 - same shape as the other steps
        self._sealed()

    def open(self, repeat: int) -> None:  # noqa: ARG002 - same shape as the other steps
        self._box(self._shard)
        key = self._package.public_key
        opened, width = [0] * self._layout.n_plaintexts, key.plaintext_bytes
        for shard, box in enumerate(self._boxes):
            data = ChaCha20Poly1305(self._key).decrypt(box[:12], box[12:], None)
            opened[shard :: self._n_banks] = [
                centred(int.from_bytes(data[start : start + width], "big"), key.n)
                for start in range(0, len(data), width)
            ]
        total, _ = self._layout.split([plain << HEADER_BITS for plain in opened])
        _check(total, self._part, self._n_banks)


def _check(total: Int64Array, part: Int64Array, n_banks: int) -> None:
    if not np.array_equal(total, part * n_banks):
        raise AssertionError("the benchmark measured a sum that is wrong")


@click.command("secure-sum")
@click.option(
    "--banks",
    type=click.IntRange(1, MAXIMUM_BANKS),
    multiple=True,
    default=(3, 10, 50),
    show_default=True,
    help="Size of the cohort; may be given several times.",
)
@number_option("--values", 20_000, "Length of the summed vector.")
@key_bits_option
@threads_option("Threads of the measurement in wall time.")
@number_option("--repeats", 5, "Repetitions of each measurement; the least counts.")
@click.option("--noise", is_flag=True, help="Measure sums with noise beside exact ones.")
@figures_of(SecureSumResult)
def secure_sum_command(
    banks: tuple[int, ...], values: int, key_bits: int, threads: int, repeats: int, noise: bool
) -> SecureSumResult:
    """Compare the secure sum with Paillier without masks, counts and tags, and with CKKS."""
    package = KeyPackage.generate(key_bits)
    return run_secure_sum(
        package,
        banks=banks,
        values=values,
        threads=threads,
        repeats=repeats,
        noise=noise,
    )
