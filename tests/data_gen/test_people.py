"""People with several banks: one person, several customers, one life."""

import numpy as np
import pandas as pd
import pytest

from data_gen.entities.payees import Payees
from data_gen.entities.world_parts import BankSide, SharedWorld, make_bank_side, make_shared_world
from data_gen.settings.config import WorldConfig


@pytest.fixture(scope="module")
def shared() -> SharedWorld:
    return make_shared_world(WorldConfig(customers=4_000))


@pytest.fixture(scope="module")
def sides(shared: SharedWorld) -> list[BankSide]:
    return [make_bank_side(shared, bank) for bank in range(len(shared.banks))]


def test_the_share_of_people_with_several_banks_is_the_dial(shared: SharedWorld) -> None:
    people = shared.shared_people
    n_banks = people.is_customer.sum(axis=1)
    assert set(n_banks) == {2, 3}
    persons = shared.config.customers - (n_banks - 1).sum()
    assert len(people) / persons == pytest.approx(shared.config.multi_bank_share, abs=0.02)


def test_every_bank_has_the_customers_it_should(shared: SharedWorld, sides: list[BankSide]) -> None:
    assert [len(side.customers) for side in sides] == shared.banks.customers.tolist()
    at_most_half = shared.shared_people.is_customer.sum(axis=0) <= shared.banks.customers // 2
    assert at_most_half.all()


def test_a_person_is_the_same_at_every_bank(shared: SharedWorld, sides: list[BankSide]) -> None:
    people = shared.shared_people
    for person in range(0, len(people), 7):
        customers = [
            (sides[bank].customers, people.customer[person, bank])
            for bank in np.flatnonzero(people.is_customer[person])
        ]
        for name in ("home", "payday", "hour_shift", "first_device", "phone_time", "trip_start"):
            values = {getattr(customer, name)[index] for customer, index in customers}
            assert len(values) == 1, name
        np.testing.assert_array_equal(*[c.shops[index] for c, index in customers[:2]])


def test_a_person_has_one_to_four_accounts(shared: SharedWorld, sides: list[BankSide]) -> None:
    people = shared.shared_people
    accounts = np.zeros(len(people), dtype=np.int64)
    for bank, side in enumerate(sides):
        members = np.flatnonzero(people.is_customer[:, bank])
        second = side.customers.has_second_account[people.customer[members, bank]]
        accounts[members] += 1 + second
    assert set(accounts) == {2, 3, 4}
    customers = np.concatenate([side.customers.has_second_account for side in sides])
    assert customers.mean() == pytest.approx(0.25, abs=0.03)


def test_two_persons_never_share_a_device(sides: list[BankSide], shared: SharedWorld) -> None:
    devices = np.concatenate([side.customers.first_device for side in sides])
    n_banks = shared.shared_people.is_customer.sum(axis=1)
    assert len(np.unique(devices)) == len(devices) - (n_banks - 1).sum()


def test_some_move_money_between_their_own_accounts(
    shared: SharedWorld, sides: list[BankSide]
) -> None:
    people, payees = shared.shared_people, shared.payees
    moves = 0
    for bank, side in enumerate(sides):
        members = np.flatnonzero(people.is_customer[:, bank])
        first = side.customers.payees[people.customer[members, bank], 0]
        for person, payee in zip(members, first, strict=True):
            other = int(payees.bank_of(payee))
            if other >= 0 and other != bank and people.is_customer[person, other]:
                moves += int(payees.customer_of(payee) == people.customer[person, other])
    assert 0.3 < moves / people.is_customer.sum() < 0.7


def test_accounts_lead_back_to_bank_and_customer(shared: SharedWorld) -> None:
    payees = shared.payees
    for bank, count in enumerate(shared.banks.customers):
        customer = np.arange(count)
        for slot in (0, 1):
            account = payees.account(bank, customer, slot)
            np.testing.assert_array_equal(payees.bank_of(account), bank)
            np.testing.assert_array_equal(payees.customer_of(account), customer)
    outside = np.arange(int(payees.bank_start[0]))
    assert (payees.bank_of(outside) == -1).all()
    assert len(payees) == payees.bank_start[-1]


def _accounts_and_owners(world: pd.DataFrame, payees: Payees) -> pd.DataFrame:
    table = world[["bank", "customer_id", "account_id"]].drop_duplicates()
    number = table["account_id"].str[1:].astype(int).to_numpy()
    return table.assign(number=number, kept_by=payees.bank_of(number))


def test_a_customer_pays_from_one_or_two_accounts_at_the_bank(default_world: pd.DataFrame) -> None:
    payees = make_shared_world(WorldConfig()).payees
    table = _accounts_and_owners(default_world, payees)
    assert table["account_id"].is_unique
    assert set(table.groupby("customer_id").size()) == {1, 2}
    banks = sorted(table["bank"].unique())
    assert [banks[kept_by] for kept_by in table["kept_by"]] == table["bank"].tolist()
    cards = default_world.dropna(subset=["card_id"])
    assert cards.groupby("card_id")["account_id"].nunique().max() == 1
    assert [c.split("_k")[0] for c in cards["card_id"]] == cards["bank"].tolist()


def test_payments_arrive_at_accounts_of_customers_of_every_bank(
    default_world: pd.DataFrame,
) -> None:
    accounts = default_world.groupby("bank")["account_id"].agg(set)
    paid = set(default_world["payee_id"].dropna())
    for bank, own in accounts.items():
        assert len(paid & own) > 20, bank


def test_without_the_dial_nobody_has_two_banks() -> None:
    for config in (WorldConfig(multi_bank_share=0.0), WorldConfig(banks=1, customers=200)):
        assert len(make_shared_world(config).shared_people) == 0
