"""A bank's file and the cut-offs of a run: what is refused, what is told, and what is digested."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohorts.exact import run_cohort
from oracles.features import DAY, START, random_table, table

from bank_node.checking.check import Where, check_rows
from bank_node.checking.report import show_checked
from bank_node.data.contract import TrainingRows, load_training_rows
from bank_node.data.digest import windows_digest
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import DataError
from fraudfed.features.mappings.mapping import parse_mapping
from fraudfed.intake.windows import Windows
from fraudfed.parameters import BoosterParams
from fraudfed.payments.columns import CHANNELS, TIME_COLUMNS
from fraudfed.wire.messages import DataContract, LabelHorizon

FIELDS: dict[str, Any] = {
    "kind": "transactions",
    "recipe": RECIPE,
    "features": contract_features(),
    "train_until": START + 40 * DAY,
    "select_until": START + 65 * DAY,
    "judge_until": START + 90 * DAY,
    "label_horizon_days": LabelHorizon(days=7),
}
CONTRACT = DataContract(**FIELDS)


def rows_of(seed: int = 1, days: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 150, days=days)
    return frame.assign(
        is_blocked=rng.integers(0, 2, 150),
        card_id=rng.choice(["k1", *(f"of its own {k}" for k in range(400))], 150),
        payee_id=None,
    )


def load(frame: pd.DataFrame, path: Path, contract: DataContract = CONTRACT) -> TrainingRows:
    frame.to_parquet(path / "bank.parquet")
    return load_training_rows(path / "bank.parquet", contract)


def test_a_file_that_ends_too_early_is_refused_and_one_that_ends_early_is_told(
    tmp_path: Path,
) -> None:
    frame = rows_of()

    def until(day: int) -> pd.DataFrame:
        # A report after the end would be of the future.
        return frame[(frame["event_time"] < START + day * DAY)].assign(
            label_time=frame["event_time"]
        )

    for day, name in ((82, "judge_until"), (57, "select_until"), (32, "train_until")):
        with pytest.raises(DataError) as refused:
            load(until(day), tmp_path)
        assert f"and {name} is 20" in str(refused.value)
        assert "the payments up to 7 days before it are missing; give the data" in str(
            refused.value
        )
        assert refused.value.exit_code == 3
    (warning,) = [text for text in load(until(86), tmp_path).warnings if "ends on" in text]
    assert "before the last cut-off 2023-08-30: frauds that were reported between" in warning
    assert not [text for text in load(frame, tmp_path).warnings if "ends on" in text]


def test_a_bank_without_a_mature_payment_is_refused_before_it_joins(tmp_path: Path) -> None:
    frame = rows_of()
    late = frame[frame["event_time"] >= START + 33 * DAY]
    with pytest.raises(DataError) as refused:
        load(late, tmp_path)
    text = f"none of {len(late)} payments is mature: from the beginning on, and older than the "
    assert f"{text}label horizon of 7 days on 2023-07-11 (train_until)" in str(refused.value)
    assert refused.value.exit_code == 3
    # Of one channel they are: its horizon is shorter.
    terms = CONTRACT.model_copy(
        update={"label_horizon_days": LabelHorizon(days=7, by_channel=dict.fromkeys(CHANNELS, 1))}
    )
    assert load(late, tmp_path, terms).table.n_rows > 0


def test_a_window_without_a_fraud_of_this_bank_is_a_warning(tmp_path: Path) -> None:
    frame = rows_of()
    later = frame["event_time"] >= START + 65 * DAY
    loaded = load(frame.assign(is_fraud=frame["is_fraud"].mask(later, 0)), tmp_path)
    (warning,) = [text for text in loaded.warnings if "window to" in text]
    count = loaded.windows.counts["judge"].rows
    assert f"none of {count} payments of the window to judge by is a reported fraud" in warning


def test_check_data_says_what_each_window_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = DataContract(**FIELDS, exclude_known_compromised=True)
    loaded = load(rows_of(), tmp_path, contract)
    checked = check_rows(
        tmp_path / "bank.parquet", contract, Where(8 << 30), mapping=None, shared=None
    )
    assert [window.name for window in checked.windows] == ["train", "select", "judge"]
    for window in checked.windows:
        count = loaded.windows.counts[window.name]
        assert (window.rows, window.frauds, window.censored) == (
            count.rows,
            count.frauds,
            count.censored,
        )
        assert window.censored > 0
        assert window.period == loaded.windows.periods[window.name]
    assert (
        checked.rows
        == loaded.table.n_rows
        == checked.windows[0].rows - (checked.windows[0].censored)
    )
    show_checked(checked)
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("censored", "judge", "select: ", "that had been reported before are left out"):
        assert words in shown


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_a_bank_stopped_is_read_from_its_file_or_through_its_mapping(
    tmp_path: Path, suffix: str
) -> None:
    frame = rows_of().drop(columns="card_id")
    path = tmp_path / f"bank{suffix}"

    def write(rows: pd.DataFrame) -> None:
        if suffix == ".csv":
            rows.to_csv(path, index=False)
        else:
            rows.to_parquet(path)

    write(frame)
    found = load_training_rows(path, CONTRACT).windows
    assert found.counts["train"].censored > 0
    write(frame.drop(columns="is_blocked"))
    without = load_training_rows(path, CONTRACT).windows
    assert without.counts["train"].censored == 0
    assert without.train.n_rows == found.train.n_rows + found.counts["train"].censored
    columns = [name for name in frame if name not in ("latitude", "longitude")]
    text = 'format_version = 1\nkind = "transactions"\n[columns]\n' + "".join(
        f'{name} = {{ column = "{"STOPPED" if name == "is_blocked" else name}"'
        + (', time_unit = "seconds" }\n' if name in TIME_COLUMNS else " }\n")
        for name in columns
    )
    write(frame.rename(columns={"is_blocked": "STOPPED"}))
    mapped = load_training_rows(path, CONTRACT, mapping=parse_mapping(text, source="t"))
    assert mapped.windows.counts == found.counts
    frame.loc[6, "is_blocked"] = 2
    write(frame)
    with pytest.raises(DataError, match=r"row 7(?: \(line 8\))?, column 'is_blocked': got 2"):
        load_training_rows(path, CONTRACT)


def test_the_digest_is_of_everything_in_every_window(tmp_path: Path) -> None:
    windows = load(rows_of(), tmp_path).windows
    same = load(rows_of(), tmp_path).windows
    assert windows_digest(windows) == windows_digest(same)
    others: list[Windows] = [
        dataclasses.replace(windows, select=None),
        dataclasses.replace(windows, judge=None),
        dataclasses.replace(windows, select=windows.judge, judge=windows.select),
        load(rows_of(2), tmp_path).windows,
    ]
    judge = windows.judge
    assert judge is not None
    for name in ("labels", "is_blocked", "amounts", "customers", "cards", "is_first_seen"):
        changed = getattr(judge.outcomes, name).copy()
        changed[0] = changed[0] == 0
        outcomes = dataclasses.replace(judge.outcomes, **{name: changed})
        others.append(
            dataclasses.replace(windows, judge=dataclasses.replace(judge, outcomes=outcomes))
        )
    cells = {**judge.outcomes.cells, "channel": judge.outcomes.cells["channel"] + 1}
    outcomes = dataclasses.replace(judge.outcomes, cells=cells)
    others.append(dataclasses.replace(windows, judge=dataclasses.replace(judge, outcomes=outcomes)))
    digests = {windows_digest(each) for each in (windows, *others)}
    assert len(digests) == len(others) + 1


def test_a_window_may_be_empty_at_one_bank(tmp_path: Path) -> None:
    frame = table(
        [
            {"event_time": START},
            {"event_time": START + 89 * DAY, "label_time": START + 90 * DAY},
        ]
    )
    windows = load(frame, tmp_path).windows
    assert windows.select is not None
    assert windows.judge is not None
    assert (windows.train.n_rows, windows.select.n_rows, windows.judge.n_rows) == (1, 0, 0)
    assert windows.validation is not None
    assert windows.validation.features.shape == (0, len(contract_features()))
    assert set(windows.periods) == {"train"}
    assert len(windows_digest(windows)) == 64


def test_trees_stop_by_the_payments_that_select(tmp_path: Path) -> None:
    """Three banks, one of which has no payment that selects, end with the pooled rows' model."""
    frames = [rows_of(1), rows_of(2), rows_of(3)]
    selects = (frames[2]["event_time"] >= START + 40 * DAY) & (
        frames[2]["event_time"] < START + 65 * DAY
    )
    frames[2] = frames[2][~selects]
    banks = [load(frame, tmp_path).windows for frame in frames]
    assert [bank.counts["select"].rows > 0 for bank in banks] == [True, True, False]
    params = BoosterParams.parse(
        {"num_boost_round": 8, "early_stopping_rounds": 2, "max_depth": 3, "eval_metric": "aucpr"}
    )
    found = run_cohort(
        3,
        lambda bank, sums: train(
            params, banks[bank].train, sums, validation=banks[bank].validation
        ),
    )
    trained, validation = (
        TrainingTable(
            schema=banks[0].train.schema,
            features=np.concatenate([part.features for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
        )
        for parts in (
            [bank.train for bank in banks],
            [bank.validation for bank in banks if bank.validation is not None],
        )
    )
    pooled = train(params, trained, SoloCommunicator(), validation=validation)
    assert {one.model.to_json() for one in found} == {pooled.model.to_json()}
    # Nothing of what selects is trained on.
    assert trained.n_rows == sum(bank.counts["train"].rows for bank in banks) - sum(
        bank.counts["train"].censored for bank in banks
    )
