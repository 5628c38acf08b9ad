"""How many identifiers several banks know, against exact sets."""

import math

import numpy as np
import pytest

from fraudfed.statistics.occupancy import (
    cells_of,
    distinct,
    known_to_several,
    marks,
    only_here,
    share_known_by,
    share_known_to,
)
from fraudfed.wire.messages import RiskEntity

KEY = bytes(32)
WIDTH = 4096


def cells(identifiers: range, key: bytes = KEY) -> np.ndarray:
    texts = [f"id {i}" for i in identifiers]
    return cells_of(RiskEntity.PAYEE, texts, hash_key=key, width=WIDTH)


@pytest.mark.parametrize(
    "banks",
    [
        (range(1000), range(500, 1500), range(900, 1900)),
        (range(2000), range(2000), range(2000)),
        (range(1000), range(1000, 2000), range(2000, 3000)),
        (range(3000), range(2990, 3100), range(0)),
    ],
)
def test_estimates_have_no_bias_and_the_error_that_they_say(banks: tuple[range, ...]) -> None:
    sets = [set(each) for each in banks]
    everything = len(set.union(*sets))
    several = sum(sum(i in each for each in sets) >= 2 for i in set.union(*sets))
    offs, several_offs, errors, several_errors = [], [], [], []
    for number in range(12):
        key = number.to_bytes(32, "big")
        of_banks = [cells(each, key) for each in banks]
        own = [marks(each, width=WIDTH) for each in of_banks]
        pooled = sum(own)
        alone = sum(only_here(c, o, pooled) for c, o in zip(of_banks, own, strict=True))
        offs.append(distinct(pooled).value - everything)
        several_offs.append(known_to_several(pooled, only_one=alone).value - several)
        errors.append(distinct(pooled).error)
        several_errors.append(known_to_several(pooled, only_one=alone).error)
    root = math.sqrt(len(offs))
    assert abs(np.mean(offs)) < 4 * np.mean(errors) / root + 1
    assert np.std(offs) < 2 * np.mean(errors) + 1
    assert abs(np.mean(several_offs)) < 4 * np.mean(several_errors) / root + 2
    assert np.std(several_offs) < 1.5 * np.mean(several_errors) + 1


def test_a_full_table_says_that_it_can_say_nothing() -> None:
    full = np.full(16, 2, dtype=np.int64)
    assert distinct(full).error == math.inf
    assert known_to_several(full, only_one=0).error == math.inf
    own = np.ones(16, dtype=np.int64)
    assert only_here(np.arange(16), own, full) == 0
    assert math.isnan(share_known_to(np.arange(16), own))
    assert math.isnan(share_known_by(np.arange(16), own))
    assert math.isnan(share_known_by(np.arange(3), np.zeros(16, dtype=np.int64)))


@pytest.mark.parametrize(("n_shared", "share"), [(0, 0.0), (500, 0.5), (1000, 1.0)])
def test_shares_that_others_know_are_corrected_for_chance(n_shared: int, share: float) -> None:
    own = cells(range(1000))
    others = marks(cells(range(1000 - n_shared, 2000 - n_shared)), width=WIDTH)
    assert share_known_to(own, others) == pytest.approx(share, abs=0.07)
    assert share_known_by(own, others) == pytest.approx(share, abs=0.07)


def test_kinds_have_other_cells_and_so_have_keys() -> None:
    texts = [f"id {i}" for i in range(100)]
    found = [
        cells_of(entity, texts, hash_key=key, width=WIDTH).tolist()
        for entity in (RiskEntity.PAYEE, RiskEntity.MERCHANT)
        for key in (KEY, bytes([1]) * 32)
    ]
    assert all(one != other for i, one in enumerate(found) for other in found[:i])
