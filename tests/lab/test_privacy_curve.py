"""The curve over bounds: figures follow from stored scores, and a stop changes none of them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from examples.reports import example

from fraudfed.cli import cli
from fraudfed.errors import ConfigurationError, DataError, StateError
from fraudfed.evaluation.metrics import auprc
from fraudfed.gate.cases import JudgedCases
from fraudfed.intake.windows import JUDGE, TRAIN
from fraudfed.lab.privacy.arrays import WorldTables
from fraudfed.lab.privacy.case import OWN, CurveCase, Training, chosen_banks, trainings_of
from fraudfed.lab.privacy.curve import run_curve, world_of
from fraudfed.lab.privacy.figures import reached
from fraudfed.lab.privacy.presets import loudness_of, parameters_of
from fraudfed.lab.privacy.results import CurveResults
from fraudfed.lab.privacy.trainings import Trained, train_one
from fraudfed.lab.privacy.worlds import write_world
from fraudfed.lab.report.page import render_report
from fraudfed.lab.report.privacy_curve import curve_page, curve_plot, read_curve
from fraudfed.privacy.sizes import MEASURED, MeasuredSize, advice
from fraudfed.privacy.terms import PrivacyTerms, TrainingWay

_CONFIG = world_of("small", customers=200, days=90, banks=3, size_exponent=0.6, seed=5)
_TRAIN_ONE = "fraudfed.lab.privacy.curve.train_one"
_CASE = CurveCase(
    ways=(TrainingWay.CYCLIC,),
    epsilons=(10.0, 1.0),
    repeats=2,
    reference_banks=3,
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> WorldTables:
    """Return a world of three banks, small enough for every test."""
    return write_world(_CONFIG, tmp_path_factory.mktemp("curve") / "rows")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grow few trees: what is tested does not hang on how good the models are."""
    monkeypatch.setattr("fraudfed.lab.privacy.trainings.EXACT_TREES", 5)
    monkeypatch.setattr(
        "fraudfed.lab.privacy.trainings.parameters_of",
        lambda *_args, **_more: {"num_boost_round": 6, "max_depth": 2, "max_delta_step": 4},
    )


def _documents(work: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((work / "curve.json").read_bytes())
    for point in document["points"]:
        # The one thing that is not the same twice.
        point.pop("cpu_seconds")
    return document


def test_the_command_trains_everything_and_its_numbers_are_those_of_the_stored_scores(
    tmp_path: Path,
) -> None:
    out = tmp_path / "curve"
    arguments = ["privacy", "curve", "--out", str(out), "--preset", "small", "--customers", "200"]
    arguments += ["--days", "90", "--banks", "3", "--way", "cyclic", "--epsilon", "10"]
    arguments += ["--repeats", "2", "--reference-banks", "2", "--threads", "1", "--json"]
    answer = CliRunner().invoke(cli, arguments)
    assert answer.exit_code == 0, answer.output
    figures = json.loads(answer.stdout)
    assert figures["missing"] == []
    assert {(p["model"], p["epsilon"], p["repeats"]) for p in figures["points"]} == {
        ("exact", None, 1),
        ("cyclic", None, 1),
        ("cyclic", 10.0, 2),
    }
    labels = np.load(out / "rows" / f"{JUDGE}_labels.npy")
    known = ~np.isnan(labels)
    for point in figures["points"]:
        bound = "none" if point["epsilon"] is None else f"{point['epsilon']:g}"
        names = (
            ["exact-plain"]
            if point["model"] == "exact"
            else [f"cyclic-plain-{bound}-{repeat}" for repeat in range(point["repeats"])]
        )
        found = [np.load(out / "scores" / f"{name}.npy")[known] for name in names]
        values = [auprc(scores, labels[known]) or 0.0 for scores in found]
        assert point["auprc"]["mean"] == pytest.approx(np.mean(values), abs=1e-6)
        assert point["auprc"]["lowest"] == pytest.approx(min(values), abs=1e-6)
        assert point["auprc"]["highest"] == pytest.approx(max(values), abs=1e-6)
        assert point["auprc"]["rows_low"] <= values[0] + 1e-6
        assert 0 <= point["case_recall"]["lowest"] <= point["case_recall"]["highest"] <= 1
    assert json.loads((out / "curve.json").read_bytes()) == figures
    assert (out / "curve.svg").read_text().startswith("<?xml")
    assert "What differential privacy costs" in (out / "curve.html").read_text()


def test_a_curve_that_was_stopped_goes_on_and_ends_with_the_same_figures(
    tables: WorldTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    given: dict[str, Trained] = {}
    limit = 4
    asked: list[str] = []

    def remembered(training: Training, *args: Any, **more: Any) -> Trained:
        # Noise is fresh each time: both curves get the same trainings.
        asked.append(training.name)
        if training.name not in given:
            given[training.name] = train_one(training, *args, **more)
        return given[training.name]

    def until_stopped(training: Training, *args: Any, **more: Any) -> Trained:
        if len(CurveResults(stopped).done()) == limit:
            raise KeyboardInterrupt
        return remembered(training, *args, **more)

    monkeypatch.setattr(_TRAIN_ONE, remembered)
    run_curve(_CASE, tables, whole, threads=1)
    monkeypatch.setattr(_TRAIN_ONE, until_stopped)
    with pytest.raises(KeyboardInterrupt):
        run_curve(_CASE, tables, stopped, threads=1)
    assert not (stopped / "curve.json").exists()
    # The line of the training that was under way is torn: it is trained again.
    with (stopped / "trainings.jsonl").open("a") as stream:
        stream.write('{"name": "cyc')
    monkeypatch.setattr(_TRAIN_ONE, remembered)
    asked.clear()
    run_curve(_CASE, tables, stopped, threads=1)
    everything = [each.name for each in trainings_of(_CASE, tables.banks, has_shared=True)]
    assert asked == everything[limit:]
    assert _documents(stopped) == _documents(whole)
    asked.clear()
    run_curve(_CASE, tables, stopped, threads=1)
    assert asked == []


def test_more_repeats_only_train_what_is_new(
    tables: WorldTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    scores = np.zeros(tables.rows(JUDGE).stop, np.float32)

    def instant(training: Training, *_args: Any, **_more: Any) -> Trained:
        asked.append(training.name)
        rows = tables.rows(JUDGE, training.bank)
        return Trained(scores[rows], {"trees": 1, "cpu_seconds": 1.0, "parameters": {}})

    monkeypatch.setattr(_TRAIN_ONE, instant)
    run_curve(_CASE, tables, tmp_path, threads=1)
    asked.clear()
    run_curve(replace(_CASE, repeats=3), tables, tmp_path, threads=1)
    assert asked == ["cyclic-plain-10-2", "cyclic-plain-1-2"]


def test_a_folder_of_another_delta_is_refused(tables: WorldTables, tmp_path: Path) -> None:
    nothing = replace(_CASE, ways=(), reference_banks=0, exact=False)
    run_curve(nothing, tables, tmp_path, threads=1)
    with pytest.raises(StateError, match="another delta"):
        run_curve(replace(nothing, delta=1e-7), tables, tmp_path, threads=1)


def test_a_line_in_the_middle_that_is_no_training_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "trainings.jsonl").write_text('{"nam\n{"name": "a"}\n')
    with pytest.raises(StateError, match="line 1"):
        CurveResults(tmp_path).done()


def test_rows_on_disk_are_those_of_the_windows(tables: WorldTables) -> None:
    train = tables.training_table(shared=True)
    assert train.features.shape == (tables.rows(TRAIN).stop, tables.schema.n_features)
    parts = [tables.training_table(shared=True, bank=bank) for bank in tables.banks]
    assert sum(part.n_rows for part in parts) == train.n_rows
    assert np.array_equal(
        np.concatenate([part.features for part in parts]), train.features, equal_nan=True
    )
    plain = tables.training_table(shared=False)
    assert not any(name.startswith("shared_") for name in plain.schema.names)
    assert np.array_equal(plain.features, train.features[:, : tables.n_own], equal_nan=True)
    customers = tables.column(TRAIN, "customers")
    of_banks = [set(customers[tables.rows(TRAIN, bank)].tolist()) for bank in tables.banks]
    assert not set.intersection(*of_banks)
    judged = tables.judged_rows(JUDGE, shared=False)
    assert JudgedCases.of(judged.outcomes).n_cases > 0


def test_a_table_is_divided_over_banks_and_trained(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(900) < 0.1).astype(int)
    frame = pd.DataFrame({"a": rng.normal(size=900) + labels, "b": rng.random(900), "y": labels})
    frame.to_parquet(tmp_path / "table.parquet")
    arguments = ["privacy", "curve", "--out", str(tmp_path / "out"), "--threads", "1", "--json"]
    arguments += ["--table", str(tmp_path / "table.parquet"), "--label", "y", "--banks", "3"]
    arguments += ["--way", "cyclic", "--epsilon", "3", "--repeats", "1"]
    answer = CliRunner().invoke(cli, arguments)
    assert answer.exit_code == 0, answer.output
    figures = json.loads(answer.stdout)
    assert figures["features"] == 2
    assert [point["shared_risk"] for point in figures["own"]] == [False]
    refused = CliRunner().invoke(cli, [*arguments, "--shared-risk"])
    assert isinstance(refused.exception, ConfigurationError)
    assert "no features of shared risk" in str(refused.exception)


def test_repeats_come_one_after_the_other_and_references_first() -> None:
    names = [each.name for each in trainings_of(_CASE, ("a", "b", "c"), has_shared=True)]
    assert len(set(names)) == len(names)
    assert names[:2] == ["own-plain-a", "own-shared-a"]
    assert names[6:8] == ["exact-plain", "cyclic-plain-none-0"]
    assert names[8:] == [
        "cyclic-plain-10-0",
        "cyclic-plain-1-0",
        "cyclic-plain-10-1",
        "cyclic-plain-1-1",
    ]


def test_chosen_banks_are_of_all_sizes() -> None:
    banks = tuple("abcdefg")
    assert chosen_banks(banks, 0) == ()
    assert chosen_banks(banks, 1) == ("a",)
    assert chosen_banks(banks, 3) == ("a", "d", "g")
    assert chosen_banks(banks, 99) == banks


def test_parameters_follow_from_public_numbers_only() -> None:
    for way in TrainingWay:
        few, many = (
            parameters_of(way, epsilon=1.0, declared_rows=rows, n_features=10)
            for rows in (100_000, 100_000_000)
        )
        assert few["num_boost_round"] < many["num_boost_round"]
        assert few["eta"] > many["eta"]
        assert many == parameters_of(way, epsilon=None, declared_rows=1, n_features=10)
    assert loudness_of(None, 1) == float("inf")


def test_equal_scores_reach_the_prevalence(tables: WorldTables) -> None:
    outcomes = tables.judged_rows(JUDGE, shared=False).outcomes
    cases = JudgedCases.of(outcomes)
    value, recall = reached(np.zeros(outcomes.n_rows, np.float32), cases)
    assert value == pytest.approx(cases.frauds.size / cases.n_rows)
    assert recall == 0.0


def _document() -> dict[str, Any]:
    band = {"mean": 0.2, "lowest": 0.1, "highest": 0.3, "rows_low": 0.15, "rows_high": 0.25}
    gate = {"adopt": 1, "keep": 2, "undecided": 3, "adopted_worse": 0, "adopted_gain": 0.1}
    point = {
        **{"model": "cyclic", "repeats": 2, "trees": 9, "auprc": band, "case_recall": band},
        **{"kept": 0.9, "bank_auprc": 0.2, "bank_case_recall": 0.4, "gate": gate},
    }
    return {
        **{"rows": 1000, "banks": 3, "frauds": 10, "case": {"delta": 1e-6}},
        "points": [point | {"epsilon": None, "kept": None}, point | {"epsilon": 3.0}],
        "own": [{"shared_risk": True, "banks": 3, "bank_auprc": 0.1, "bank_case_recall": 0.2}],
    }


def test_plot_and_section_are_the_same_bytes_again_and_show_the_figures(tmp_path: Path) -> None:
    document = _document()
    assert curve_plot(document) == curve_plot(document)
    page = curve_page(document)
    assert page == curve_page(document)
    for shown in ("cyclic", "own + shared risk", "90 %", "1 / 2 / 3", "1e-06"):
        assert shown in page
    file = tmp_path / "curve.json"
    file.write_text(json.dumps(document))
    assert read_curve(file) == document
    for other in ("[]", "{}", "no json"):
        file.write_text(other)
        with pytest.raises(DataError, match="no curve"):
            read_curve(file)


def test_the_demos_report_shows_a_curve_and_still_needs_nothing_but_itself() -> None:
    summary, curves = example()
    without = render_report(summary, curves=curves)
    assert "What differential privacy costs" not in without
    shown = render_report(summary, curves=curves, privacy_curve=_document())
    assert "What differential privacy costs" in shown
    ids = re.findall(r'\bid="([^"]+)"', shown)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", shown)) <= set(ids)
    assert "http:" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", shown)


_TERMS = PrivacyTerms(epsilon=3.0, tolerated_colluders=1, declared_rows=2_000_000)


def _measured(rows: int, epsilon: float, private: float, own: float) -> MeasuredSize:
    return MeasuredSize(rows, TrainingWay.CYCLIC, epsilon, private, private * 1.1, own)


def test_advice_follows_the_table() -> None:
    table = (_measured(2_000_000, 3.0, 0.2, 0.1), _measured(2_000_000, 1.0, 0.09, 0.1))
    assert advice(_TERMS, 2_000_000, measured=table) is None
    assert advice(_TERMS, 5_000_000, measured=table) is None
    assert advice(replace(_TERMS, epsilon=10.0), 2_000_000, measured=table) is None
    for terms, rows in ((_TERMS, 1_000_000), (replace(_TERMS, epsilon=1.0), 2_000_000)):
        line = advice(terms, rows, measured=table)
        assert line is not None
        assert "\n" not in line
        assert "2 million rows and epsilon 3" in line


def test_advice_where_nothing_beats_own_says_so() -> None:
    table = (_measured(2_000_000, 3.0, 0.05, 0.1),)
    for measured in (table, ()):
        line = advice(_TERMS, 2_000_000, measured=measured)
        assert line is not None
        assert "no size that was measured" in line
    other = replace(_TERMS, way=TrainingWay.HISTOGRAMS)
    good = (_measured(2_000_000, 3.0, 0.2, 0.1),)
    assert "no size that was measured" in str(advice(other, 2_000_000, measured=good))


@pytest.mark.parametrize("point", MEASURED)
def test_advice_of_every_measured_point_agrees_with_it(point: MeasuredSize) -> None:
    terms = PrivacyTerms(
        epsilon=point.epsilon, way=point.way, tolerated_colluders=0, declared_rows=point.rows
    )
    if point.beats_own:
        assert advice(terms, point.rows) is None


def test_own_has_a_name_of_its_own() -> None:
    assert Training(OWN, True, bank="b").name == "own-shared-b"
    assert Training("cyclic", False, 0.3, 4).name == "cyclic-plain-0.3-4"
