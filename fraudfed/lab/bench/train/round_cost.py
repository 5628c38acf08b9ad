"""What a round takes beside the arithmetic on ciphertexts: requests, storage, logs and checks.

The aggregator's CPU time is that of its processes during the run, start of the banks included. Its
arithmetic is measured apart, in this process and under the run's key: every contribution is checked
once, and all but the first are multiplied into the product. A bank's is the CPU time of its
training thread while it sends and waits (``own_machine.EXCHANGE_PHASES`` without ``accept``); noise
that other threads make meanwhile is not in it.
"""

import secrets
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fraudfed.lab.bench.train.own_machine import EXCHANGE_PHASES
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire.messages import PublicKeyMessage

_REPEATS = 5
_MILLI = 1e3


@dataclass(frozen=True)
class RoundCost:
    """CPU milliseconds of one round, on average.

    Attributes
    ----------
    aggregator_ms : float
        Everything.
    aggregator_arithmetic_ms : float
        Of it, checking and multiplying ciphertexts.
    aggregator_beside_ms : float
        The rest of it.
    bank_beside_ms : mapping of bank name to float
    """

    aggregator_ms: float
    aggregator_arithmetic_ms: float
    aggregator_beside_ms: float
    bank_beside_ms: Mapping[str, float]

    @classmethod
    def of(
        cls,
        processes: Mapping[str, Mapping[str, Any]],
        key: PublicKeyMessage,
        *,
        aggregator_cpu_seconds: float,
        rounds: int,
    ) -> "RoundCost":
        """Take the figures out of one run.

        Parameters
        ----------
        processes : mapping of bank name to mapping
            ``last_process`` of each bank's record of the run.
        key : PublicKeyMessage
            Of the run.
        aggregator_cpu_seconds : float
        rounds : int
        """
        everything = _MILLI * aggregator_cpu_seconds / rounds
        ciphertexts = max(one["ciphertexts"] for one in processes.values()) / rounds
        arithmetic = arithmetic_ms(key, ciphertexts=ciphertexts, banks=len(processes))
        phases = [phase for phase in EXCHANGE_PHASES if phase != "accept"]
        return cls(
            aggregator_ms=everything,
            aggregator_arithmetic_ms=arithmetic,
            aggregator_beside_ms=everything - arithmetic,
            bank_beside_ms={
                bank: _MILLI
                * sum(one["main_cpu_seconds"].get(phase, 0.0) for phase in phases)
                / rounds
                for bank, one in processes.items()
            },
        )


def arithmetic_ms(message: PublicKeyMessage, *, ciphertexts: float, banks: int) -> float:
    """Return what checking and multiplying takes for a round of so many ciphertexts a bank."""
    key = PublicKey.from_hex(
        {
            "n": message.n,
            "hs": message.hs,
            "alpha_bits": message.alpha_bits,
            "fingerprint": message.fingerprint,
        },
        insecure_allow_small_key=True,
    )
    count = max(1, round(ciphertexts))
    vector = CiphertextVector(
        key,
        b"".join(
            (1 + secrets.randbelow(key.n_squared - 1)).to_bytes(key.ciphertext_bytes, "big")
            for _ in range(count)
        ),
    )
    check, multiply = _median_ms(vector.check), _median_ms(lambda: vector.product(vector))
    return (banks * check + (banks - 1) * multiply) * ciphertexts / count


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_REPEATS):
        started = time.thread_time()
        work()
        taken.append(time.thread_time() - started)
    return _MILLI * statistics.median(taken)
