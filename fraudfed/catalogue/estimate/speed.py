"""How long a machine takes for each piece of a run's work.

All constants are CPU seconds of one core of an Intel Xeon with AVX-512 IFMA, fitted to the
benchmarks of ``docs/performance.md``; another machine is about as much faster or slower as its
cores are.
"""

from dataclasses import dataclass

from fraudfed.catalogue.estimate.setting import Setting

#: One ciphertext under 3072 bits by kernel, and how its time grows with the bits of the key. That
#: of ``adx`` is its ratio to ``gmp`` on an AMD EPYC (CPU time of one thread, both by turns, the
#: least of seven) times what ``gmp`` takes on the Xeon, where ``ifma`` runs in its place.
_ENCRYPT = {"ifma": 25.7e-6, "adx": 0.54 * 205.6e-6, "gmp": 205.6e-6}
_DECRYPT = {"ifma": 122.9e-6, "adx": 0.59 * 1_339.7e-6, "gmp": 1_339.7e-6}
_ENCRYPT_GROWTH, _DECRYPT_GROWTH = 1.7, 2.25
_REFERENCE_BITS = 3072
#: Keys with longer factors are computed by GMP, whatever the processor.
_MOST_KERNEL_BITS = 6144
#: Checking and combining the shards of all banks, for each ciphertext.
_COMBINE = 32e-6
#: A bank's signing, sending, keeping and waiting in one round; the aggregator's for each bank.
_BANK_ROUND, _AGGREGATOR_ROUND = 9e-3, 8e-3
#: One tree's splits, bounds and bookkeeping at a bank.
_TREE = 25e-3
#: One row's value of one feature in a histogram.
_ROW_VALUE = 2.3e-9
#: Processes that share cores get in each other's way.
_SHARED_CORES = 1.2
#: Round trips that a round waits for, and bytes of a ciphertext with its part of the opening.
_ROUND_TRIPS = 2.0
#: Memory: of the program, of each value of a table, of a raw payment; of the aggregator, each bank.
_BANK_BASE, _VALUE_BYTES, _PAYMENT_BYTES = 206 * 2**20, 16.5, 700.0
_AGGREGATOR_BASE, _AGGREGATOR_BANK = 90 * 2**20, 0.6 * 2**20


@dataclass(frozen=True)
class CpuSeconds:
    """CPU seconds of the largest bank, of all banks, and of the aggregator."""

    largest_bank: float
    all_banks: float
    aggregator: float


def cpu_seconds(
    *, rounds: float, ciphertexts: float, row_passes: float, trees: float, at: Setting
) -> CpuSeconds:
    """Return the CPU seconds of a run's work.

    Parameters
    ----------
    rounds, ciphertexts : float
        Of each bank.
    row_passes : float
        Values of rows that are added up, of all banks together.
    trees : float
        Of all candidates.
    at : Setting
    """
    scale = at.key_bits / _REFERENCE_BITS
    kernel = at.kernel if at.key_bits <= _MOST_KERNEL_BITS else "gmp"
    encrypt = _ENCRYPT[kernel] * scale**_ENCRYPT_GROWTH
    # The banks share the decryption, each of an equal shard.
    decrypt = _DECRYPT[kernel] * scale**_DECRYPT_GROWTH / at.banks
    each = rounds * _BANK_ROUND + trees * _TREE
    each += ciphertexts * (encrypt + decrypt + _COMBINE * scale)
    rows = row_passes * _ROW_VALUE
    return CpuSeconds(
        largest_bank=each + rows * at.largest_share,
        all_banks=each * at.banks + rows,
        aggregator=rounds * at.banks * _AGGREGATOR_ROUND,
    )


def wall_seconds(cpu: CpuSeconds, *, rounds: float, bytes_of_bank: float, at: Setting) -> float:
    """Return the wall seconds of a run whose banks all work at once.

    Parameters
    ----------
    cpu : CpuSeconds
    rounds : float
    bytes_of_bank : float
        Sent and received by a bank.
    at : Setting
    """
    link = rounds * _ROUND_TRIPS * at.rtt_ms / 1e3 + bytes_of_bank * 8 / (at.mbit * 1e6)
    if at.one_machine:
        return (cpu.all_banks + cpu.aggregator) * _SHARED_CORES / at.cores
    return cpu.largest_bank / min(at.cores, 2) + cpu.aggregator + link


def memory_bytes(*, features: int, raw: bool, at: Setting) -> tuple[float, float]:
    """Return the peak memory of the largest bank's process, and of the aggregator."""
    rows = at.rows * at.largest_share
    bank = _BANK_BASE + rows * features * _VALUE_BYTES + (rows * _PAYMENT_BYTES if raw else 0.0)
    return bank, _AGGREGATOR_BASE + at.banks * _AGGREGATOR_BANK
