"""A bank is made of parts that need no other part, in any order."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data_gen.entities.customers import BLOCK_CUSTOMERS
from data_gen.entities.world_parts import BankSide, make_bank_side
from data_gen.events import NONE, FraudKind, LabelledEvents
from data_gen.identifiers import to_table
from data_gen.settings.config import WorldConfig
from data_gen.world.making import World, bank_parts, make_bank, make_part, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(WorldConfig(banks=2, customers=4_000, days=14, fraud_rate=0.03))


@pytest.fixture(scope="module")
def side(world: World) -> BankSide:
    return make_bank_side(world.shared, 0)


def _equal(first: LabelledEvents, second: LabelledEvents) -> None:
    np.testing.assert_array_equal(first.label_time, second.label_time)
    for field in dataclasses.fields(first.events):
        np.testing.assert_array_equal(
            getattr(first.events, field.name), getattr(second.events, field.name)
        )


def test_a_bank_has_a_part_per_block_and_fraud_kind(world: World, side: BankSide) -> None:
    assert len(side.customers) > BLOCK_CUSTOMERS
    kinds = [kind for kind in FraudKind if kind >= 0]
    assert bank_parts(world, 0) == 2 + len(kinds)
    for part in range(2):
        labelled = make_part(side, world, part)
        assert (labelled.events.kind == FraudKind.LEGITIMATE).all()
        block = labelled.events.customer // BLOCK_CUSTOMERS
        assert (block == part).all()
    for part, kind in enumerate(kinds, start=2):
        found = make_part(side, world, part).events
        assert (found.kind == kind).all()
        assert len(found) > 0


def test_parts_depend_on_no_other_part(world: World, side: BankSide) -> None:
    parts = list(range(bank_parts(world, 0)))
    forwards = [make_part(side, world, part) for part in parts]
    for part in reversed(parts):
        _equal(make_part(make_bank_side(world.shared, 0), world, part), forwards[part])


def test_a_bank_is_its_parts_sorted_by_time_part_and_position(world: World, side: BankSide) -> None:
    parts = [make_part(side, world, part) for part in range(bank_parts(world, 0))]
    number = np.concatenate([np.full(len(part), index) for index, part in enumerate(parts)])
    position = np.concatenate([np.arange(len(part)) for part in parts])
    together = LabelledEvents.concatenate(parts)
    order = np.lexsort((position, number, together.events.time))
    _equal(make_bank(world, 0).labelled, together.take(order))


def test_every_event_lies_in_the_period_and_knows_its_account(world: World) -> None:
    config = world.shared.config
    for bank in range(2):
        events = make_bank(world, bank).events
        assert events.time.min() >= config.start_time
        assert events.time.max() < config.end_time
        owner = world.shared.payees.customer_of(events.account)
        np.testing.assert_array_equal(owner, events.customer)
        np.testing.assert_array_equal(
            world.shared.payees.bank_of(events.account), np.full(len(events), bank)
        )


def test_numbers_of_a_large_world_do_not_overflow() -> None:
    large = make_world(
        WorldConfig(banks=2, customers=400_000, days=14, size_exponent=3.0, fraud_rate=0.0005)
    )
    side = make_bank_side(large.shared, 1)
    parts = bank_parts(large, 1)
    for part in (0, *range(parts - 7, parts)):
        events = make_part(side, large, part).events
        table = to_table(side, events, events.time, first_number=4_000_000_000)
        table.validate(full=True)
        transfer = events.payee != NONE
        kept_by = events.merchant - large.shared.places.first_institution
        np.testing.assert_array_equal(
            kept_by[transfer], large.shared.payees.institution[events.payee[transfer]]
        )
        for column, values in (
            ("account_id", events.account),
            ("merchant_id", events.merchant),
            ("transaction_id", 4_000_000_000 + np.arange(len(events))),
        ):
            digits = pc.replace_substring_regex(table[column], r"^.*[^0-9]", "")
            np.testing.assert_array_equal(pc.cast(digits, pa.int64()).to_numpy(), values)
