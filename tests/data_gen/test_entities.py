"""Pools, sequences, identifiers and the unequal banks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.entities.banks import make_banks
from data_gen.entities.devices import (
    SLOTS,
    DeviceOwner,
    owned_device,
    scramble,
    shared_person_device,
    unique_devices,
)
from data_gen.entities.places import Pool, make_places, make_towns
from data_gen.events import NONE
from data_gen.identifiers import numbered_strings
from data_gen.settings.config import WorldConfig, bank_names
from data_gen.steps import Steps, running_sum
from data_gen.world.making import generate

# Whose devices are numbered within each bank.
ONE_OFFS = (
    DeviceOwner.ONE_OFF_EVERYDAY,
    DeviceOwner.ONE_OFF_OCCASION,
    DeviceOwner.ONE_OFF_FRAUD,
    DeviceOwner.CAMPAIGN,
)


@given(
    group=st.lists(st.integers(0, 3), min_size=0, max_size=30),
    uniform=st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_pool_draws_members_of_the_asked_group(group: list[int], uniform: float) -> None:
    groups = np.array([0, 1, 2, 3, *group])
    weight = 1.0 + np.arange(len(groups)) % 5
    pool = Pool(groups, weight, np.arange(len(groups)), 4)
    asked = np.arange(4)
    np.testing.assert_array_equal(groups[pool.draw(asked, np.full(4, uniform))], asked)


def test_a_pool_draws_in_proportion_to_the_weights() -> None:
    pool = Pool(np.array([1, 0, 1]), np.array([1.0, 7.0, 3.0]), np.array([10, 11, 12]), 2)
    uniforms = (np.arange(4000) + 0.5) / 4000
    drawn = pool.draw(np.ones(4000, dtype=np.int64), uniforms)
    assert (drawn == 12).sum() == 3000
    assert (drawn == 10).sum() == 1000


@given(st.lists(st.integers(0, 5), max_size=20))
def test_running_sum_restarts_with_each_sequence(counts: list[int]) -> None:
    steps = Steps.of(np.array(counts, dtype=np.int64))
    gaps = np.arange(len(steps), dtype=np.float64) + 2.0
    found = running_sum(steps, gaps)
    expected = []
    row = 0
    for count in counts:
        total = 0
        for number in range(count):
            total += int(gaps[row]) if number else 0
            expected.append(total)
            row += 1
    assert found.tolist() == expected


def test_numbered_strings_pad_and_keep_nulls() -> None:
    numbers = np.array([0, 42, NONE, 9_999_999])
    found = numbered_strings("m", numbers, 7, nullable=True)
    found.validate(full=True)
    assert found.to_pylist() == ["m0000000", "m0000042", None, "m9999999"]


def test_device_codes_are_distinct_and_stay_distinct_when_scrambled() -> None:
    codes = np.concatenate(
        [owned_device(b, np.arange(500)) + slot for b in range(3) for slot in range(SLOTS)]
        + [shared_person_device(np.arange(500)) + slot for slot in range(SLOTS)]
        + [unique_devices(o, b, np.arange(500)) for o in ONE_OFFS for b in range(3)]
        + [unique_devices(DeviceOwner.CAMPAIGN, 675, (4 << 32) + np.arange(500))]
    )
    assert codes.min() >= 0
    assert len(np.unique(scramble(codes))) == len(codes)


def test_banks_are_unequal_by_the_dials_and_alike_without_them() -> None:
    config = WorldConfig(customers=5000)
    towns = make_towns(config)
    unequal = make_banks(config, towns.population)
    assert unequal.customers.sum() == 5000
    assert (np.diff(unequal.customers) < 0).all()
    assert unequal.customers[0] > 5 * unequal.customers[-1]
    assert len(np.unique(unequal.fraud_rate.round(6))) == 5
    overall = np.average(unequal.fraud_rate, weights=unequal.customers)
    assert overall == pytest.approx(config.fraud_rate)

    alike = make_banks(
        config.replace(
            size_exponent=0.0,
            channel_spread=0.0,
            amount_spread=0.0,
            region_spread=0.0,
            fraud_rate_spread=0.0,
        ),
        towns.population,
    )
    assert alike.customers.tolist() == [1000] * 5
    for values in (alike.channel_share, alike.log_amount, alike.town_weight, alike.fraud_rate):
        np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape))


def test_some_banks_lack_devices_and_some_lack_places() -> None:
    config = WorldConfig(banks=4, missing_column_share=0.25)
    banks = make_banks(config, make_towns(config).population)
    assert banks.keeps_devices.sum() == banks.keeps_places.sum() == 3
    lacking = dict(generate(config.replace(customers=80, days=14)))
    for bank, frame in enumerate(lacking.values()):
        assert frame["device_id"].notna().any() == banks.keeps_devices[bank]
        for column in ("latitude", "longitude"):
            assert frame[column].notna().any() == banks.keeps_places[bank]
        assert frame["terminal_id"].notna().any()


def test_every_town_has_shops_and_cash_machines() -> None:
    config = WorldConfig(customers=400)
    towns = make_towns(config)
    places = make_places(config, towns)
    for first, last in ((0, places.first_atm), (places.first_atm, places.n_terminals)):
        assert set(places.terminal_town[first:last].tolist()) == set(range(len(towns)))


def test_bank_names_are_unique_and_valid() -> None:
    assert bank_names(5) == ["bank_a", "bank_b", "bank_c", "bank_d", "bank_e"]
    many = bank_names(676)
    assert len(set(many)) == 676
    assert many[0] == "bank_aa"
    assert many[-1] == "bank_zz"
