"""Mule chains can be followed from bank to bank by the accounts alone."""

import numpy as np
import pandas as pd
import pytest

from data_gen.events import NONE
from data_gen.fraud.mules import MAX_HOPS, MIN_HOPS, Hops, make_hops
from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.settings.presets import PRESETS
from data_gen.world.making import World, generate, make_world


@pytest.fixture(scope="module")
def chains() -> pd.DataFrame:
    config = PRESETS["aml-mules"].replace(customers=1_500, days=60)
    return pd.concat(
        [frame.assign(bank=name) for name, frame in generate(config)], ignore_index=True
    )


def _arrivals(world: pd.DataFrame, leaving: pd.DataFrame) -> pd.DataFrame:
    """Return the fraudulent payments to the account of each leaving one, within 24 h before."""
    stolen = world[world["fraud_kind"].notna() & world["payee_id"].notna()]
    pairs = leaving.merge(
        stolen, left_on="account_id", right_on="payee_id", suffixes=("", "_arrival")
    )
    stay = pairs["event_time"] - pairs["event_time_arrival"]
    return pairs[stay.between(0, DAY_SECONDS)]


def test_money_arrives_at_a_mule_and_leaves_within_a_day(chains: pd.DataFrame) -> None:
    leaving = chains[(chains["fraud_kind"] == "mule_chain") & (chains["is_blocked"] == 0)]
    assert len(leaving) > 100
    pairs = _arrivals(chains, leaving)
    assert set(pairs["transaction_id"]) == set(leaving["transaction_id"])
    # For each, money enough has come in.
    most = pairs.groupby("transaction_id")["amount_minor_arrival"].max()
    left = leaving.set_index("transaction_id")["amount_minor"]
    assert (left <= most[left.index]).mean() > 0.99


def test_each_mule_passes_the_money_to_another_bank(chains: pd.DataFrame) -> None:
    leaving = chains[(chains["fraud_kind"] == "mule_chain") & (chains["is_blocked"] == 0)]
    pairs = _arrivals(chains, leaving)
    between_mules = pairs[pairs["fraud_kind_arrival"] == "mule_chain"]
    assert between_mules["transaction_id"].nunique() > 50
    assert (between_mules["bank"] != between_mules["bank_arrival"]).all()
    victims = pairs[pairs["fraud_kind_arrival"] != "mule_chain"]
    assert set(victims["fraud_kind_arrival"]) == {"account_takeover", "push_payment_scam"}
    assert (victims["bank"] != victims["bank_arrival"]).mean() > 0.5


def test_the_last_mule_takes_cash_or_pays_an_account_outside(chains: pd.DataFrame) -> None:
    fraud = chains[(chains["fraud_kind"] == "mule_chain") & (chains["is_blocked"] == 0)]
    cash = fraud[fraud["channel"] == "atm"]
    assert (cash["amount_minor"] % 1_000 == 0).all()
    members = set(chains["account_id"])
    outside = fraud["payee_id"].notna() & ~fraud["payee_id"].isin(members)
    assert len(cash) > 10
    assert outside.sum() > 10


def test_mules_are_customers_who_also_lead_a_normal_life(chains: pd.DataFrame) -> None:
    mules = set(chains.loc[chains["fraud_kind"] == "mule_chain", "account_id"])
    honest = chains[chains["fraud_kind"].isna()]
    assert np.mean([mule in set(honest["account_id"]) for mule in mules]) > 0.9


def test_chains_dominate_the_preset(chains: pd.DataFrame) -> None:
    share = chains["fraud_kind"].value_counts(normalize=True)
    assert share.idxmax() == "mule_chain"
    assert share["mule_chain"] > 0.35


@pytest.fixture(scope="module")
def planned() -> World:
    return make_world(WorldConfig(banks=4, customers=2_000, fraud_rate=0.03))


@pytest.fixture(scope="module")
def hops(planned: World) -> Hops:
    return make_hops(planned.shared, planned.plan)


def test_a_chain_has_two_or_three_hops_in_order_of_time(hops: Hops) -> None:
    table = pd.DataFrame({"chain": hops.chain, "time": hops.time, "amount": hops.amount})
    counts = table.groupby("chain").size()
    assert set(counts) == {MIN_HOPS, MAX_HOPS}
    for _, chain in table.sort_values("time", kind="stable").groupby("chain"):
        assert chain["time"].diff().dropna().between(1_200, DAY_SECONDS - 1).all()
        assert (chain["amount"].diff().dropna() <= 0).all()


def test_every_payee_but_the_last_is_the_next_mule_at_another_bank(
    planned: World, hops: Hops
) -> None:
    bank_of = planned.shared.payees.bank_of
    assert (bank_of(hops.account) >= 0).all()
    order = np.lexsort((hops.time, hops.chain))
    follows = hops.chain[order][1:] == hops.chain[order][:-1]
    next_account = hops.account[order][1:][follows]
    payee = hops.payee[order][:-1][follows]
    np.testing.assert_array_equal(payee, next_account)
    assert (bank_of(hops.account[order][:-1][follows]) != bank_of(next_account)).all()
    last = hops.payee[order][np.append(~follows, True)]
    paid = last[last != NONE]
    assert (bank_of(paid) == -1).all()


def test_a_single_bank_has_no_chain() -> None:
    alone = make_world(WorldConfig(banks=1, customers=300, fraud_rate=0.05))
    assert len(make_hops(alone.shared, alone.plan).chain) == 0
