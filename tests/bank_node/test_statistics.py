"""Banks as real processes sum what their columns hold, and compare their files with the others."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import examples.statistics
import numpy as np
import pytest
from examples.statistics import counted, layout, payments, pooled, read, statistics_run
from federations.bank_process import finish, start_bank
from federations.bank_states import Banks, serving

from bank_node.checking.against import others_of
from bank_node.checking.against import statistics_run as statistics_run_of
from bank_node.state.directory import STATISTICS_FILE, StateDirectory
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.wire.messages import RunState

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Finished:
    """Three banks that have the result of a statistics run; the last one's amounts are wrong."""

    banks: Banks
    files: list[Path]
    run_id: str

    def where(self, bank: int) -> tuple[str, Path, str, Path]:
        return ("--state", self.state(bank).path, "--data", self.files[bank])

    def state(self, bank: int) -> StateDirectory:
        return StateDirectory(self.banks.state(self.banks.names[bank]))


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, key_package: KeyPackage
) -> Iterator[Finished]:
    root = tmp_path_factory.mktemp("statistics")
    with serving(root, root) as aggregator:
        banks = Banks(root, aggregator, key_package)
        files = [root / f"{bank}.parquet" for bank in range(3)]
        for bank, path in enumerate(files):
            rows = payments(bank, n_rows=2000)
            if bank == 2:
                rows["amount_minor"] *= 100
            rows.to_parquet(path)
        run_id = aggregator.create_run(statistics_run(banks.key_epoch.epoch))
        made = Finished(banks, files, run_id)
        processes = [start_bank("--quiet", "statistics", *made.where(bank)) for bank in range(3)]
        ended = [finish(process) for process in processes]
        assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]
        yield made


def test_all_banks_have_the_sum_of_what_each_enters(
    finished: Finished, key_package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples.statistics, "KEY", derive_risk_key(key_package))
    at = layout(3)
    rows = [payments(bank, n_rows=2000) for bank in range(3)]
    rows[2]["amount_minor"] *= 100
    expected = pooled([counted(each, at) for each in rows], at)
    contents = {
        (finished.state(bank).path / "runs" / finished.run_id / STATISTICS_FILE).read_bytes()
        for bank in range(3)
    }
    assert contents == {expected[0].pooled.to_bytes()}
    for bank in range(3):
        assert finished.state(bank).own_statistics(finished.run_id) == expected[bank].own.to_bytes()
    status = finished.banks.aggregator.status(finished.run_id)
    assert status.state is RunState.FINISHED
    assert status.round_number == 3
    record = finished.state(0).record(finished.run_id)
    assert record is not None
    assert record["result"] == {
        "kind": "statistics",
        "columns": len(at.columns),
        "rows": expected[0].pooled.rows,
    }


def test_the_result_is_said_again_and_of_the_registry_nothing_is_readable(
    finished: Finished, run_bank
) -> None:
    again = run_bank("statistics", *finished.where(0), "--json")
    assert again.code == 0, again.err
    answer = json.loads(again.out)
    pooled_rows = read(finished.state(0).statistics(finished.run_id), 3).rows
    assert answer["rows"] == pooled_rows
    by_name = {column["name"]: column for column in answer["columns"]}
    everything = np.concatenate([payments(bank, n_rows=2000)["amount_minor"] for bank in range(2)])
    median = dict(map(tuple, by_name["amount_minor"]["quantiles"]))[0.25]
    assert 0.5 * np.quantile(everything, 0.25) < median < 2.5 * np.quantile(everything, 0.25)
    assert [entity["entity"] for entity in answer["entities"]] == ["terminal", "merchant", "payee"]
    printed = run_bank("statistics", *finished.where(0)).out
    assert "amount_minor" in printed
    stored = finished.banks.aggregator.operator("GET", f"/v1/runs/{finished.run_id}/model")
    assert b"amount_minor" not in stored
    assert b"amount_minor" in finished.state(0).statistics(finished.run_id)


def test_check_data_names_the_mistake_and_nothing_at_the_others(
    finished: Finished, run_bank, tmp_path: Path
) -> None:
    def check(*where: Any) -> dict[str, Any]:
        ended = run_bank("check-data", *where, "--against", finished.run_id, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)["against"]

    found = check(*finished.where(2))
    (mistake,) = [each for each in found["differences"] if each["is_mistake"]]
    assert (mistake["kind"], mistake["column"]) == ("scale", "amount_minor")
    assert "100 times" in mistake["what"]
    text = run_bank("check-data", *finished.where(2), "--against", finished.run_id).out
    assert "LOOKS LIKE A MISTAKE: amount_minor" in " ".join(text.split())
    # Mended, the same file is compared with the other two as they are: without its old part.
    mended = tmp_path / "mended.parquet"
    payments(2, n_rows=2000).to_parquet(mended)
    where = (*finished.where(2)[:2], "--data", mended)
    assert not any(each["is_mistake"] for each in check(*where)["differences"])


def test_what_a_bank_is_compared_with_is_the_others_sum(
    finished: Finished, key_package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples.statistics, "KEY", derive_risk_key(key_package))
    at = layout(3)
    others = pooled([counted(payments(bank, n_rows=2000), at) for bank in range(2)], at)[0].pooled
    state = finished.state(2)
    found = others_of(state, statistics_run_of(state, finished.run_id))
    assert found.rows == others.rows
    for one, other in zip(found.columns, others.columns, strict=True):
        assert one.cells.tolist() == other.cells.tolist()


def test_a_review_shows_what_is_counted(finished: Finished, run_bank) -> None:
    shown = run_bank("runs", "review", finished.run_id, *finished.where(0)[:2])
    assert shown.code == 0, shown.err
    text = " ".join(shown.out.split())
    for part in ("smaller ones are entered as 0", "merchant_id:case", "3 rounds", "is_fraud"):
        assert part in text, text


def test_a_run_of_another_kind_or_without_a_result_is_refused(finished: Finished, run_bank) -> None:
    ended = run_bank("check-data", *finished.where(0), "--against", "nothing")
    assert ended.code == 5
    assert "does not hold the statistics of run nothing; take part in it" in ended.error()
    ended = run_bank("train", *finished.where(0), "--run", finished.run_id)
    assert ended.code == 2
    assert "is of kind statistics, expected training; use 'bank-node statistics'" in ended.error()
    out = finished.files[0].parent / "none.csv"
    ended = run_bank("score", *finished.where(0), "--out", out, "--run", finished.run_id)
    assert ended.code in {2, 5}, ended.err
