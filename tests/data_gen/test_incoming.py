"""What arrives at each bank: every transfer once, with a label that comes later."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_gen.checking.validator import validate_data_set
from data_gen.schema.incoming import INCOMING_SCHEMA, MULE_SCHEMA
from data_gen.schema.transactions import TRANSACTION_SCHEMA
from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.settings.dials import parse_dials
from data_gen.settings.presets import PRESETS
from data_gen.writing import output
from data_gen.writing.output import write
from fraudfed.errors import ConfigurationError

STOLEN = ("account_takeover", "push_payment_scam", "mule_chain")
CONFIG = PRESETS["aml-mules"].replace(banks=3, customers=600, days=40, seed=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world") / "w"
    write(CONFIG, out, formats=("parquet", "csv"))
    return out


def read(world: Path, name: str) -> pd.DataFrame:
    frames = [
        pd.read_parquet(file).assign(bank=file.parent.name)
        for file in sorted(world.glob(f"bank_*/{name}.parquet"))
    ]
    return pd.concat(frames, ignore_index=True)


def test_every_transfer_between_members_arrives_once(world: Path) -> None:
    sent, came = read(world, "transactions"), read(world, "incoming")
    owners = sent.drop_duplicates("account_id").set_index("account_id")
    # All main accounts, also of customers who never pay: numbered bank by bank.
    first = {name: group["account_id"].min() for name, group in sent.groupby("bank")}
    transfers = sent[(sent["channel"] == "transfer") & (sent["is_blocked"] == 0)]
    expected = transfers[transfers["payee_id"] >= first["bank_a"]].set_index("transaction_id")
    came = came.assign(sent_id=came["transaction_id"].str.removeprefix("in-")).set_index("sent_id")
    assert came.index.is_unique
    assert set(came.index) == set(expected.index)
    expected = expected.loc[came.index]
    for ours, theirs in (
        ("event_time", "event_time"),
        ("payee_id", "payee_id"),
        ("payer_id", "account_id"),
        ("account_id", "account_id"),
        ("amount_minor", "amount_minor"),
        ("is_fraud", "is_fraud"),
        ("fraud_kind", "fraud_kind"),
        ("merchant_id", "merchant_id"),
    ):
        pd.testing.assert_series_equal(came[ours], expected[theirs], check_names=False)
    known = came[came["payee_id"].isin(owners.index)]
    assert len(known) > 500
    assert (known["customer_id"].to_numpy() == owners.loc[known["payee_id"], "customer_id"]).all()
    assert (known["bank"].to_numpy() == owners.loc[known["payee_id"], "bank"]).all()
    assert set(came["direction"]) == {"inbound"}
    empty = ["card_id", "terminal_id", "device_id", "merchant_category", "latitude", "longitude"]
    assert came[empty].isna().all(axis=None)


def test_the_receiving_bank_learns_later(world: Path) -> None:
    sent, came = read(world, "transactions"), read(world, "incoming")
    origin = sent.set_index("transaction_id").loc[came["transaction_id"].str.removeprefix("in-")]
    later = came["label_time"].to_numpy() - origin["label_time"].to_numpy()
    on_us = came["bank"].to_numpy() == origin["bank"].to_numpy()
    told = (came["is_fraud"].to_numpy() == 1) & ~on_us
    assert told.sum() > 30
    assert not later[~told].any()
    assert (later[told] >= 0).all()
    assert 1.0 < later[told].mean() / DAY_SECONDS < 4.0


def test_mules_are_the_accounts_that_stolen_money_reached(world: Path) -> None:
    came, mules = read(world, "incoming"), read(world, "mules")
    stolen = came[came["fraud_kind"].isin(STOLEN)]
    groups = stolen.groupby("payee_id")
    mules = mules.set_index("payee_id")
    assert set(mules.index) == set(groups.groups)
    assert (mules["first_arrival_time"] == groups["event_time"].min()).all()
    assert (mules["stolen_payments"] == groups.size()).all()
    reports = stolen[stolen["is_fraud"] == 1].groupby("payee_id")["label_time"].min()
    pd.testing.assert_series_equal(
        mules["first_report_time"].dropna().astype("int64").sort_index(),
        reports.sort_index(),
        check_names=False,
    )
    assert set(mules["customer_id"]) == set(stolen["customer_id"])


def test_money_that_reaches_a_mule_is_seen_to_leave(world: Path) -> None:
    """What the bank needs to see pass-through is in its own two files."""
    sent, came = read(world, "transactions"), read(world, "incoming")
    out = sent[sent["channel"].isin(["transfer", "atm"])]
    pairs = came.merge(out, on=["bank", "customer_id"], suffixes=("", "_out"))
    gap = pairs["event_time_out"] - pairs["event_time"]
    followed = set(pairs.loc[gap.between(1, DAY_SECONDS), "transaction_id"])
    stolen = came["fraud_kind"].isin(STOLEN)
    share = came["transaction_id"].isin(followed)
    assert share[stolen].mean() > 0.8
    assert share[~stolen].mean() < 0.6


def test_the_other_files_are_what_they_were(world: Path, tmp_path: Path) -> None:
    write(dataclasses.replace(CONFIG, incoming_delay_days=None), tmp_path / "w")
    for file in sorted(tmp_path.glob("w/bank_*/*")):
        assert file.name == "transactions.parquet"
        assert file.read_bytes() == (world / file.parent.name / file.name).read_bytes()
    manifest = json.loads((tmp_path / "w" / "manifest.json").read_bytes())
    ours = json.loads((world / "manifest.json").read_bytes())
    assert manifest["content_sha256"] == ours["content_sha256"]
    assert all("incoming" not in bank for bank in manifest["banks"])
    assert all(bank["incoming"]["mule_accounts"] > 0 for bank in ours["banks"])


def test_bytes_depend_neither_on_workers_nor_on_pieces_in_the_spool(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(CONFIG, tmp_path / "two", workers=2)
    for file in sorted(tmp_path.glob("two/bank_*/*.parquet")):
        assert file.read_bytes() == (world / file.parent.name / file.name).read_bytes()
    monkeypatch.setattr(output, "ROW_GROUP_ROWS", 1000)
    write(CONFIG, tmp_path / "small", formats=("csv",))
    for name in ("incoming.csv", "mules.csv"):
        for file in sorted(tmp_path.glob(f"small/bank_*/{name}")):
            assert file.read_bytes() == (world / file.parent.name / name).read_bytes()


def test_files_keep_to_their_schemas_and_faults_are_found(world: Path, tmp_path: Path) -> None:
    found = validate_data_set(world, TRANSACTION_SCHEMA, most_faults=5)
    assert found.faults == ()
    assert found.files == 12
    mules = pd.read_parquet(world / "bank_a" / "mules.parquet")
    assert list(mules) == MULE_SCHEMA.names
    csv = world / "bank_b" / "incoming.csv"
    text = csv.read_text()
    try:
        lines = text.splitlines(keepends=True)
        csv.write_text("".join([lines[0], lines[1].replace("inbound", "outbound"), *lines[2:]]))
        faults = validate_data_set(world, TRANSACTION_SCHEMA, most_faults=9).faults
    finally:
        csv.write_text(text)
    assert "direction" in [fault.column for fault in faults]
    assert any("bytes" in fault.value for fault in faults)
    assert INCOMING_SCHEMA.rule("direction").allowed == ("inbound",)


def test_the_dial() -> None:
    assert PRESETS["instant-payments"].incoming_delay_days is not None
    assert PRESETS["small"].incoming_delay_days is None
    assert parse_dials(WorldConfig, ("incoming_delay_days=none",)) == {"incoming_delay_days": None}
    assert parse_dials(WorldConfig, ("incoming_delay_days=0",)) == {"incoming_delay_days": 0.0}
    for value in (-1.0, 101.0, np.nan):
        with pytest.raises(ConfigurationError, match="incoming_delay_days"):
            WorldConfig(incoming_delay_days=value)
