"""What encrypted training was to reach, beside what was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Mapping[str, Any]]

#: Stands where a result is missing.
_UNKNOWN = "-"


@dataclass(frozen=True)
class Aim:
    """One row: what others need, what was expected, what was hoped for, what it is.

    Attributes
    ----------
    what, peer, expected, aim : str
    measured : callable
        From the results to the cell; a result that is missing is a KeyError.
    """

    what: str
    peer: str
    expected: str
    aim: str
    measured: Callable[[Results], str]


def aims_table(results: Results) -> str:
    """Return the table in Markdown."""
    lines = ["| | peer | expected | aim | measured |\n", "|---|---|---|---|---|\n"]
    for row in AIMS:
        try:
            measured = f"**{row.measured(results)}**"
        except KeyError:
            measured = _UNKNOWN
        lines.append(f"| {row.what} | {row.peer} | {row.expected} | {row.aim} | {measured} |\n")
    return "".join(lines)


def _per_kernel(ratio: str) -> Callable[[Results], str]:
    def measured(results: Results) -> str:
        costs = {cost["kernel"]: cost[ratio] for cost in results["paillier"]["kernels"]}
        return " / ".join(f"{costs[name]:.0f}x" if name in costs else "-" for name in _KERNELS)

    return measured


_KERNELS = ("ifma", "gmp")


def _packed(results: Results) -> str:
    fastest = results["paillier"]["kernels"][0]["packed"][0]
    return f"{fastest['values_per_second'] / 1e6:.2f} M/s"


def _bytes_per_value(results: Results) -> str:
    packed = results["paillier"]["kernels"][0]["packed"][0]
    bank = results["train"]["banks"][0]
    width = results["train"]["case"]["key_bits"] // 4
    trained = bank["ciphertexts"] * width / bank["values"]
    return f"{packed['bytes_per_value']:.1f} of 48 bits; {trained:.1f} in `bench train`"


def _ratio(name: str) -> Callable[[Results], str]:
    return lambda results: f"{results[name]['ratio']:.1f}x"


def _own_machines(results: Results) -> str:
    return f"{results['train']['ratio_own_machines']:.1f}x"


def _parity(results: Results) -> str:
    found = results["parity"]
    return f"{found['seconds_ours'] / found['seconds_xgboost']:.2f}x"


def _identical(results: Results) -> str:
    found = [results[name] for name in ("train", "train-3m") if name in results]
    if not found:
        raise KeyError("train")
    return ", ".join(f"{one['identical_trees']} of {one['trees']}" for one in found)


def _aggregator_memory(results: Results) -> str:
    ratios = {one["banks"]: one["ratio"] for one in results["aggregator-memory"]["cohorts"]}
    return f"{ratios[30]:.2f}x"


AIMS = (
    Aim(
        "encrypt one ciphertext, `ifma` / `gmp`, one thread",
        "phe: 1x",
        "400x / 50x",
        "600x / 80x",
        _per_kernel("encrypt_ratio"),
    ),
    Aim(
        "decrypt one ciphertext, `ifma` / `gmp`, one thread",
        "phe: 1x",
        "30x / 5x",
        "50x / 7x",
        _per_kernel("decrypt_ratio"),
    ),
    Aim(
        "encrypt, packed values per second on 2 cores",
        "CKKS as NVFlare sets it: 1.0-1.8 M/s and core, inexact",
        "1.0 M/s",
        "1.5 M/s",
        _packed,
    ),
    Aim("bytes per value on the wire", "CKKS: 57-61", "13", "11", _bytes_per_value),
    Aim(
        "`bench train` (300,000 rows), wall, against pooled XGBoost `hist` with the same 2 cores",
        "NVFlare secure (CKKS) 70x-83x; SecretFlow SGB 17.6x (32 cores), 58x (8 cores)",
        "12x",
        "7x",
        _ratio("train"),
    ),
    Aim("the same at 3,000,000 rows", "-", "3x", "2x", _ratio("train-3m")),
    Aim(
        "300,000 rows, each bank with two cores of its own (from CPU time by phase)",
        "-",
        "5x",
        "3x",
        _own_machines,
    ),
    Aim(
        "300,000 rows with `--rtt 10 --mbit 100`",
        "SecretFlow SGB 100x",
        "25x",
        "15x",
        _ratio("train-network"),
    ),
    Aim(
        "`bench parity`, ours against XGBoost, plaintext, same threads",
        "1x",
        "1.5x",
        "1.0x",
        _parity,
    ),
    Aim("trees identical to XGBoost's in `bench train`", "none", "all", "all", _identical),
    Aim("aggregator memory, 30 against 3 banks", "-", "1.2x", "1.0x", _aggregator_memory),
)
