"""``check-data`` and risk counts on workers: those of one machine, whatever the parts."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples.published_tables import paysim_rows

from bank_node.checking.check import Where, check_rows, check_without_labels
from bank_node.data import spread_payments
from bank_node.jobs.risk.counting import count_payments
from bank_node.run.context import RunOptions
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.dask_engine.work import Work
from fraudfed.errors import DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.mappings.mapping import load_mapping
from fraudfed.features.shared_risk import RiskEntries
from fraudfed.reading.problems import ProblemsError
from fraudfed.reading.report import report_of
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    LabelHorizon,
    Population,
    RiskPrivacy,
    RiskSpec,
)

pytestmark = pytest.mark.e2e

DAY = 86_400
LIMIT = 8 << 30


def report(client: Any, data: Path, contract: DataContract, **how: Any) -> str:
    """Return what ``check-data`` says on a cluster; None is this machine."""
    check = check_without_labels if how.pop("unlabelled", False) else check_rows
    given = {"mapping": None, "shared": None, **how}
    try:
        found = check(data, contract, Where(LIMIT, client), **given)
    except ProblemsError as error:
        return f"{error}\n{report_of(error).model_dump_json()}"
    except DataError as error:
        return str(error)
    return found.model_dump_json()


def same(client: Any, data: Path, contract: DataContract, **how: Any) -> str:
    """Return the report; it is that of this machine."""
    whole = report(None, data, contract, **how)
    assert report(client, data, contract, **how) == whole
    return whole


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    _, frame = next(iter(generate(WorldConfig(seed=3, banks=3, customers=60, days=16))))
    is_fraud = np.arange(len(frame)) % 17 == 0
    return (
        frame.assign(
            is_fraud=is_fraud.astype(np.int8),
            label_time=(frame["event_time"] + 3_600).where(is_fraud, frame["label_time"]),
            is_blocked=(np.arange(len(frame)) % 29 == 0).astype(np.int8),
            fraud_kind=np.where(is_fraud, "own", None),
            currency=np.where(np.arange(len(frame)) < 50, "USD", "EUR"),
        )
        .sample(frac=1.0, random_state=0)
        .reset_index(drop=True)
    )


@pytest.fixture(scope="module")
def contract(payments: pd.DataFrame) -> DataContract:
    end = int(payments["event_time"].max()) + 1
    return DataContract(
        kind="transactions",
        recipe=RECIPE,
        features=contract_features()[:9],
        label_horizon_days=LabelHorizon(days=2),
        train_until=end - 6 * DAY,
        select_until=end - 3 * DAY,
        judge_until=end + 3 * DAY // 2,
    )


class Given:
    """Counts the pieces of work that are given out, and kills a worker at one of them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.count = 0
        self.fatal: int | None = None

    def note(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            os.kill(min(self._client.run(os.getpid).values()), signal.SIGKILL)

    def over_deaths(self, act: Callable[[], None]) -> None:
        """Do something with all workers alive, and again with a death early and late."""
        every = self._count(act)
        assert every >= 8
        for share in (0.3, 0.6):
            self.fatal = round(every * share)
            assert self._count(act) >= self.fatal

    def _count(self, act: Callable[[], None]) -> int:
        # With fewer workers there are fewer pieces of work. One that was killed is started again.
        self._client.wait_for_workers(2, timeout=60)
        self.count = 0
        act()
        return self.count


@pytest.fixture
def given_out(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Given:
    given = Given(cluster)
    give = Work.give

    def noted(work: Work, *arguments: Any) -> Any:
        given.note()
        return give(work, *arguments)

    monkeypatch.setattr(Work, "give", noted)
    return given


def in_many_buckets(frame: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write small files, of which each gives rows to several buckets."""
    monkeypatch.setattr(spread_payments, "_LEAST_BUCKET_ROWS", 100)
    for number, start in enumerate(range(0, len(frame), 90)):
        frame.iloc[start : start + 90].to_parquet(folder / f"{number}.parquet", index=False)


@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_workers_report_what_one_machine_does_of_good_payments_and_bad(
    cluster: Any,
    payments: pd.DataFrame,
    contract: DataContract,
    tmp_path: Path,
    n_parts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Only files divide the rows; the middle one of seven has none.
    monkeypatch.setattr(spread_payments, "_LEAST_BUCKET_ROWS", 100)
    edges = np.linspace(0, len(payments), n_parts + 1).astype(int)
    if n_parts == 7:
        edges[4] = edges[3]

    def write(frame: pd.DataFrame) -> None:
        for number in range(n_parts):
            part = frame.iloc[edges[number] : edges[number + 1]]
            part.to_parquet(tmp_path / f"{number}.parquet", index=False)

    write(payments)
    pos = Population(channels=("pos",))
    few = contract.model_copy(update={"population": pos, "exclude_known_compromised": True})
    assert '"name":"judge"' in same(cluster, tmp_path, few)
    if n_parts == 7:
        assert "can be scored" in same(cluster, tmp_path, few, unlabelled=True)
        late = contract.model_copy(update={"judge_until": 2**31})
        assert "judge_until" in same(cluster, tmp_path, late)
    bad = payments.astype({"amount_minor": float})
    bad.loc[[3, len(bad) - 2], "amount_minor"] = -77_777
    bad.loc[len(bad) - 1, "transaction_id"] = bad.loc[0, "transaction_id"]
    bad.loc[1, "label_time"] = 1
    bad.loc[2, "channel"] = "fax"
    write(bad)
    told = same(cluster, tmp_path, contract)
    for kind in ("out_of_range", "unknown_value", "repeated_value", "label_before_payment"):
        assert f'"kind":"{kind}"' in told
    # No value of a row is in what workers log.
    assert "77777" not in str(cluster.get_worker_logs())


def test_a_worker_that_dies_amid_a_check_changes_no_word(
    cluster: Any,
    given_out: Given,
    payments: pd.DataFrame,
    contract: DataContract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_many_buckets(payments, tmp_path, monkeypatch)
    given_out.over_deaths(lambda: same(cluster, tmp_path, contract))


def test_workers_check_tables_csv_and_rows_that_a_mapping_numbers(
    cluster: Any, contract: DataContract, tmp_path: Path
) -> None:
    table = DataContract(kind="table", features=(FeatureSpec(name="x"),), label="y")
    folder = tmp_path / "table"
    folder.mkdir()
    for number, values in enumerate(([1.0, None], [], [3.0, 4.0])):
        frame = pd.DataFrame({"x": values, "y": [1] * len(values)}, dtype=float)
        frame.to_csv(folder / f"{number}.csv", index=False)
    assert '"rows":4' in same(cluster, folder, table)
    (folder / "2.csv").write_text("x,y\nmuch,1\n2,3\n")
    assert '"kind":"not_a_label"' in same(cluster, folder, table)
    (folder / "2.csv").write_text("x,y\n1\n")
    assert "cut_off_row" in same(cluster, folder, table)
    plain = contract.model_copy(
        update=dict.fromkeys(("train_until", "select_until", "judge_until"))
    )
    folder = tmp_path / "paysim"
    folder.mkdir()
    frame = paysim_rows(60)
    for number, start in enumerate((0, 25)):
        part = frame.iloc[start : start + 35 * number + 25]
        part.to_parquet(folder / f"{number}.parquet", index=False)
    assert '"rows_read":60' in same(cluster, folder, plain, mapping=load_mapping("paysim"))


def test_workers_count_for_risk_tables_what_one_machine_does(
    cluster: Any,
    given_out: Given,
    payments: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_many_buckets(payments, tmp_path, monkeypatch)
    begin = int(payments["event_time"].min()) // DAY
    spec = RiskSpec(
        first_day=begin,
        last_day=begin + 25,
        delay_days=2,
        depth=2,
        transaction_width=64,
        fraud_width=16,
        min_customers=2,
    )
    key = bytes(32)

    def entered(client: Any, of: RiskSpec = spec) -> tuple[Any, RiskEntries, RiskEntries]:
        found = count_payments(RunOptions(tmp_path, cluster=client), of, corrections=())
        entries = (each.entries(of, hash_key=key) for each in (found.counted, found.unbounded))
        return (found.n_rows, found.first_day), *entries

    facts, here, _ = entered(None)
    assert here.transactions.counts.size

    def count() -> None:
        told, there, _ = entered(cluster)
        assert told == facts
        for name in ("transactions", "frauds"):
            np.testing.assert_equal(vars(getattr(there, name)), vars(getattr(here, name)))

    # Also if one of them dies amid it.
    given_out.over_deaths(count)
    noised = spec.model_copy(
        update={
            "min_customers": 1,
            "depth": 1,
            "privacy": RiskPrivacy(epsilon=3.0, tolerated_colluders=1),
        }
    )
    days = range(begin, begin + 26)
    _, here, everything = entered(None, noised)
    _, there, unbounded = entered(cluster, noised)
    np.testing.assert_equal(vars(unbounded.transactions), vars(everything.transactions))
    np.testing.assert_array_equal(there.transactions.totals(days), here.transactions.totals(days))
    assert here.transactions.counts.sum() < everything.transactions.counts.sum()
    payments.iloc[[0, 0]].to_parquet(tmp_path / "0.parquet", index=False)
    texts = set()
    for client in (None, cluster):
        with pytest.raises(ProblemsError, match="expected an identifier that no") as error:
            entered(client)
        texts.add(str(error.value))
    assert len(texts) == 1
