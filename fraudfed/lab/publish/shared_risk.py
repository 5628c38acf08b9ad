"""Measure how far estimates from risk tables are off, and what a table weighs on the wire.

``python -m fraudfed.lab.publish.shared_risk DIR`` takes what ``data-gen generate --out DIR`` has
made, sums the tables of all its banks for some sizes of sketches, and prints the table of
docs/shared-risk.md. Every payment asks once for each of its entities; the truth is an exact count
of the same entries.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.shared_risk import (
    Entries,
    RiskEntries,
    RiskTables,
    SharedRisk,
    risk_entries,
    sum_tables,
)
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.sketch import hash_identifiers, hash_key_id
from fraudfed.paillier.keys import DEFAULT_KEY_BITS
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.wire.messages import RiskEntity, RiskSpec

KEY = bytes(32)
DELAY_DAYS = 7
WINDOW_DAYS = 7
DEPTH = 4
#: Columns of the sketch of payments, and of that of frauds.
WIDTHS = ((1024, 128), (4096, 512), (16384, 2048))


@dataclass(frozen=True, eq=False)
class Questions:
    """How much was entered in the window before a day: one for each payment and entity."""

    hashes: dict[RiskEntity, tuple[list[str], Int64Array, Int64Array]]

    @classmethod
    def of(cls, payments: pd.DataFrame) -> "Questions":
        """Ask for every payment."""
        found = {}
        for entity in RiskEntity:
            codes, identifiers = pd.factorize(payments[f"{entity}_id"])
            rows = codes >= 0
            days = payments["event_time"].to_numpy()[rows] // SECONDS_PER_DAY
            found[entity] = (list(identifiers), codes[rows].astype(np.int64), days)
        return cls(found)

    def estimates(self, shared: SharedRisk) -> tuple[Int64Array, Int64Array]:
        """Return the answers of tables: payments and frauds."""
        answers = [
            shared.windows(entity, names, codes, days, widths=(WINDOW_DAYS,))
            for entity, (names, codes, days) in self.hashes.items()
        ]
        return (
            np.concatenate([answer.transactions[0] for answer in answers]),
            np.concatenate([answer.frauds[0] for answer in answers]),
        )

    def truth(self, entries: list[Entries], spec: RiskSpec) -> Int64Array:
        """Return the exact answers from what all banks entered."""
        n_days = spec.last_day - spec.first_day + 1
        number: dict[bytes, int] = {}
        counts: list[Int64Array] = []
        for part in entries:
            for day, count, row in zip(part.days, part.counts, part.hashes, strict=True):
                index = number.setdefault(row.tobytes(), len(number))
                if index == len(counts):
                    counts.append(np.zeros(n_days + 1, dtype=np.int64))
                counts[index][day - spec.first_day + 1] += count
        counts.append(np.zeros(n_days + 1, dtype=np.int64))
        total = np.cumsum(np.stack(counts), axis=1)
        answers = []
        for entity, (names, codes, days) in self.hashes.items():
            hashes = hash_identifiers(entity, names, hash_key=KEY, depth=DEPTH)
            # An identifier that was never entered has the last row, of zeros.
            rows = np.array([number.get(row.tobytes(), len(counts) - 1) for row in hashes])
            at = np.clip(days - spec.first_day, 0, n_days)
            before = np.clip(days - spec.first_day - WINDOW_DAYS, 0, n_days)
            answers.append(total[rows[codes], at] - total[rows[codes], before])
        return np.concatenate(answers)


def wire_bytes(tables: RiskTables) -> float:
    """Return bytes of ciphertexts of one bank for one day, on average over all days."""
    total = 0
    for day in tables.days:
        parts = [np.zeros(0, dtype=np.int64)]
        for sketch in (day.transactions, day.frauds, day.corrections):
            entered = int(sketch[0].sum(dtype=np.int64))
            if entered:
                parts.append(np.full(sketch.size, entered, dtype=np.int64))
        bounds = np.concatenate(parts)
        layout = SlotLayout.for_bounds(
            bounds, bounds.shape, low=0, plaintext_bits=DEFAULT_KEY_BITS - 1
        )
        total += layout.n_plaintexts * DEFAULT_KEY_BITS // 4
    return total / len(tables.days)


def main() -> None:
    """Print one line for each size."""
    banks = [
        pd.read_parquet(path) for path in sorted(Path(sys.argv[1]).glob("*/transactions.parquet"))
    ]
    payments = pd.concat(banks)
    first, last = (
        int(payments["event_time"].agg(which)) // SECONDS_PER_DAY for which in ("min", "max")
    )
    questions = Questions.of(payments)
    print(f"{len(payments):,} payments, {len(banks)} banks, {last - first + 1} days")
    own = [risk_entries(bank, _spec(first, last, WIDTHS[0]), hash_key=KEY) for bank in banks]
    days = range(first, last + 1)
    for kind in ("transactions", "frauds"):
        totals = sum(getattr(part, kind).totals(days) for part in own)
        print(f"{kind}: {totals.mean():,.0f} entered a day, {totals.max():,} on the fullest")
    print("| columns | bytes a day | payments: exact | mean excess | frauds: exact | mean excess |")
    print("|---|--:|--:|--:|--:|--:|")
    for widths in WIDTHS:
        spec = _spec(first, last, widths)
        entered = [risk_entries(bank, spec, hash_key=KEY) for bank in banks]
        tables = sum_tables(joined(entered), SoloCommunicator(), start=_begin(spec))
        shared = SharedRisk([KeyedTables(tables, KEY)])
        cells = []
        for kind, estimates in zip(
            ("transactions", "frauds"), questions.estimates(shared), strict=True
        ):
            truth = questions.truth([getattr(part, kind) for part in entered], spec)
            excess = estimates - truth
            cells += [f"{(excess == 0).mean():.2%}", f"{excess.mean():.4f}"]
        size = f"{wire_bytes(tables):,.0f}"
        print(f"| {widths[0]} + {widths[1]} | {size} | {' | '.join(cells)} |")


def _spec(first_day: int, last_day: int, widths: tuple[int, int]) -> RiskSpec:
    transaction_width, fraud_width = widths
    return RiskSpec(
        first_day=first_day,
        last_day=last_day,
        delay_days=DELAY_DAYS,
        depth=DEPTH,
        transaction_width=transaction_width,
        fraud_width=fraud_width,
    )


def _begin(spec: RiskSpec) -> RiskTables:
    return RiskTables(spec, hash_key_id(KEY))


def joined(parts: list[RiskEntries]) -> RiskEntries:
    """Return what all banks entered as if one had."""

    def together(entries: list[Entries]) -> Entries:
        days = np.concatenate([part.days for part in entries])
        order = np.argsort(days, kind="stable")
        rows = [part.rows for part in entries if part.rows is not None]
        return Entries(
            days=days[order],
            counts=np.concatenate([part.counts for part in entries])[order],
            hashes=np.concatenate([part.hashes for part in entries])[order],
            rows=None if not rows else np.concatenate(rows)[order],
        )

    return RiskEntries(
        together([part.transactions for part in parts]),
        together([part.frauds for part in parts]),
        together([part.corrections for part in parts]),
    )


if __name__ == "__main__":
    main()
