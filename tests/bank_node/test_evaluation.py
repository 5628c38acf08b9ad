"""``bank-node evaluate``: what it finds, keeps, says, and ends with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from cohorts.exact import run_cohort
from examples.search import CONTRACT as TABLE
from examples.search import rows_of
from federations.bank_process import Finished, finish, start_bank
from federations.bank_states import Banks
from judging.payments import COMMON, CONTRACT, DAY, SPEC, START, bank_that_knows, payments, run_spec

from bank_node.data.contract import TableShares, load_training_rows
from bank_node.evaluation.document import Evaluation
from bank_node.evaluation.own_models import better_own, own_plan, train_own, widened, without_absent
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.table import FeatureSchema
from fraudfed.communicator import Communicator, SoloCommunicator
from fraudfed.errors import ConfigurationError
from fraudfed.gate.decision import Verdict
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import Windows
from fraudfed.search.search import search
from fraudfed.wire.messages import DataContract, FeatureSpec, PublicKeyMessage, RunKind, SearchRung

RunBank = Callable[..., Finished]


def windows_of(path: Path, contract: DataContract = CONTRACT) -> Windows:
    shares = TableShares(select=True, judge=True)
    return load_training_rows(path, contract, shares=shares).windows


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("payments")
    paths = [root / f"{bank}.parquet" for bank in range(3)]
    for bank, path in enumerate(paths):
        payments(bank).to_parquet(path)
    return paths


@pytest.fixture(scope="session")
def model(files: list[Path]) -> bytes:
    """Return what three banks' search has chosen."""
    windows = [windows_of(path) for path in files]

    def program(bank: int, communicator: Communicator) -> bytes:
        own = windows[bank]
        assert own.select is not None
        return search(SPEC, COMMON, own.train, own.select, communicator).model.to_json()

    return run_cohort(3, program)[0]


@pytest.fixture
def state(tmp_path: Path, model: bytes) -> StateDirectory:
    return bank_that_knows(tmp_path / "bank", run_spec(), model=model)


def evaluated(run_bank: RunBank, state: StateDirectory, data: Path, *more: Any) -> Evaluation:
    ended = run_bank("evaluate", "--state", state.path, "--data", data, *more, "--json")
    assert ended.code == 0, ended.err + ended.out
    return Evaluation.model_validate_json(ended.out)


def test_a_run_is_judged_and_kept(
    run_bank: RunBank, state: StateDirectory, files: list[Path], tmp_path: Path
) -> None:
    found = evaluated(run_bank, state, files[0], "--alerts-per-day", "2")
    kept = state.path / "runs" / "r1" / "evaluation"
    assert Evaluation.model_validate_json((kept / "evaluation.json").read_bytes()) == found
    judge = found.windows[2]
    assert (judge.name, found.alerts, found.own) == ("judge", 2 * found.days, "own")
    assert judge.first_event is not None
    assert judge.first_event >= START + 90 * DAY
    assert found.models[0].name == "shared"
    assert found.decision.difference.estimate == pytest.approx(
        found.models[0].case_recall.estimate - found.models[1].case_recall.estimate
    )
    assert found.sentence.split(":")[0] in ("adopt", "keep your own", "undecided")
    # Files that XGBoost reads give the scores that were compared.
    windows = windows_of(files[0])
    assert windows.judge is not None
    contract_names = [spec.name for spec in CONTRACT.features]
    for each in found.models:
        booster = xgboost.Booster(model_file=each.file)
        assert booster.feature_names == contract_names
        out = tmp_path / f"{each.name}.csv"
        where = ("--state", state.path, "--data", files[0], "--out", out)
        ended = run_bank("score", *where, "--model", each.file)
        assert ended.code == 0, ended.err
        scores = pd.read_csv(out)["score"].to_numpy()
        assert each.threshold is not None
        frame = payments(0)
        inside = frame["event_time"].between(judge.first_event, judge.last_event)
        judged = scores[(inside & (frame["is_blocked"] == 0)).to_numpy()]
        assert np.count_nonzero(judged >= each.threshold + 1e-6) <= found.alerts
        assert np.count_nonzero(judged >= each.threshold - 1e-6) > 0


def test_the_own_model_is_that_of_the_same_search(
    run_bank: RunBank, state: StateDirectory, files: list[Path]
) -> None:
    """Same candidates, same windows, this bank's rows only."""
    found = evaluated(run_bank, state, files[1])
    windows = windows_of(files[1])
    assert windows.select is not None
    alone = search(SPEC, COMMON, windows.train, windows.select, SoloCommunicator())
    own = found.models[1]
    assert own.candidate == alone.winner
    assert own.select_auprc == alone.best.mean_of_banks
    content = Path(own.file).read_bytes()
    kept = read_model(content, schema=contract_schema(CONTRACT), source="own.json")
    features = windows.select.features
    assert np.array_equal(predict_margins(kept, features), predict_margins(alone.model, features))


def test_a_second_look_at_the_window_is_told(
    run_bank: RunBank, state: StateDirectory, files: list[Path]
) -> None:
    first = evaluated(run_bank, state, files[0])
    again = evaluated(run_bank, state, files[0])
    assert first.earlier_uses == ()
    assert [use.run_id for use in again.earlier_uses] == ["r1"]
    assert any("were used once before, by r1" in line for line in again.advice)
    ignored = {"earlier_uses", "advice"}
    # The same run and rows: the same resamples.
    assert again.model_dump(exclude=ignored) == first.model_dump(exclude=ignored)
    # Another run that judges by payments of the same days.
    assert state.pinned_run("r1") is not None
    other = PinnedRun(
        run_id="r2",
        spec=run_spec(name="other"),
        cohort=("bank-a",),
        public_key=PublicKeyMessage(n="ff", fingerprint="1" * 64),
    )
    state.run_directory("r2")
    state.pin_run(other)
    state.model_path("r2").write_bytes(state.model_path("r1").read_bytes())
    third = evaluated(run_bank, state, files[0], "--run", "r2")
    assert [use.run_id for use in third.earlier_uses] == ["r1", "r1"]


def test_blocked_payments_are_read_each_way(
    run_bank: RunBank, state: StateDirectory, files: list[Path], tmp_path: Path
) -> None:
    found = evaluated(run_bank, state, files[0])
    assert set(found.readings) == {"unblocked", "censored_clean", "censored_fraud"}
    payments(0, blocked=False).to_parquet(tmp_path / "unblocked.parquet")
    assert evaluated(run_bank, state, tmp_path / "unblocked.parquet").readings == {}


def test_people_see_a_table_and_a_sentence(
    run_bank: RunBank, state: StateDirectory, files: list[Path], tmp_path: Path
) -> None:
    costs = tmp_path / "costs.toml"
    costs.write_text('currency = "GBP"\ncost_per_alert = 5\nfriction = 2\n')
    ended = run_bank("evaluate", "--state", state.path, "--data", files[0], "--costs", costs)
    assert ended.code == 0, ended.err
    for text in ("shared", "own *", "case recall", "net benefit, GBP", "one payment in 200"):
        assert text in ended.out
    assert "kept in" in ended.out


def test_a_table_without_times_is_divided_as_its_search_did(
    run_bank: RunBank, tmp_path: Path
) -> None:
    rows_of(0, 1200).to_csv(tmp_path / "t.csv", index=False)
    shares = TableShares(seed=5, select=True, judge=True)
    windows = load_training_rows(tmp_path / "t.csv", TABLE, shares=shares).windows
    assert windows.select is not None
    spec = run_spec(contract=TABLE, parameters={**COMMON, "random_state": 5})
    shared = search(SPEC, COMMON, windows.train, windows.select, SoloCommunicator()).model
    state = bank_that_knows(tmp_path / "bank", spec, model=shared.to_json())
    found = evaluated(run_bank, state, tmp_path / "t.csv")
    assert {each.name: each.rows for each in found.windows} == {
        name: count.rows for name, count in windows.counts.items()
    }
    assert not found.in_time
    assert "the rows have no times" in found.advice[-1]
    ended = run_bank(
        *("evaluate", "--state", state.path, "--data", tmp_path / "t.csv"),
        *("--alerts-per-day", "3"),
    )
    assert (ended.code, "without times" in ended.error()) == (2, True)


@pytest.mark.parametrize(
    ("limit", "code", "message"),
    [
        ('metric = "case_recall"\nat_least = 0.999', 15, "1 of 1 limits are broken, the first is"),
        ('metric = "auc"\nat_least = 0.5\nchannel = "ecommerce"', None, ""),
        ('metric = "auc"\nat_least = 0.5\nchannel = "atm"', 15, "0 cases, 20 are needed"),
    ],
)
def test_a_gate_ends_with_a_code(
    run_bank: RunBank,
    state: StateDirectory,
    files: list[Path],
    tmp_path: Path,
    limit: str,
    code: int | None,
    message: str,
) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text(f"alerts_per_day = 2\n[[limits]]\n{limit}\n")
    where = ("--state", state.path, "--data", files[0], "--gate", gate)
    ended = run_bank("evaluate", *where, "--json")
    document = json.loads(ended.out)
    found = Evaluation.model_validate(document["result"] if "error" in document else document)
    of_verdict = {Verdict.ADOPT: 0, Verdict.KEEP: 13, Verdict.UNDECIDED: 14}
    assert ended.code == (of_verdict[found.decision.verdict] if code is None else code)
    if message:
        assert message in document["error"]["message"]


def test_the_verdict_has_a_code(
    run_bank: RunBank, state: StateDirectory, files: list[Path], tmp_path: Path
) -> None:
    """A shared model that knows nothing is turned down, with the code and the sentence."""
    windows = windows_of(files[0])
    labels = windows.train.labels.copy()
    np.random.default_rng(1).shuffle(labels)
    assert windows.select is not None
    noise = type(windows.train)(windows.train.schema, windows.train.features, labels)
    useless = search(SPEC, COMMON, noise, windows.select, SoloCommunicator()).model
    state.model_path("r1").write_bytes(useless.to_json())
    gate = tmp_path / "gate.toml"
    gate.write_text("alerts_per_day = 2\n")
    ended = run_bank("evaluate", "--state", state.path, "--data", files[0], "--gate", gate)
    assert (ended.code, ended.error().startswith("error: gate: keep your own:")) == (13, True)
    # Without a gate, an answer is an answer.
    assert evaluated(run_bank, state, files[0]).decision.verdict is not Verdict.ADOPT


def without_fraud(days: tuple[int, int]) -> pd.DataFrame:
    frame = payments(0)
    inside = frame["event_time"].between(START + days[0] * DAY, START + days[1] * DAY)
    return frame.assign(is_fraud=frame["is_fraud"].where(~inside, 0))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (without_fraud((0, 60)), "train window: has no fraud among 1"),
        (without_fraud((60, 90)), "select window: has no fraud among "),
        (without_fraud((90, 130)), "judge window: none of 7.. payments is known to be a fraud"),
        (payments(0)[lambda f: f["event_time"] < START + 80 * DAY], "select_until is"),
    ],
)
def test_rows_that_judge_nothing(
    run_bank: RunBank, state: StateDirectory, tmp_path: Path, frame: pd.DataFrame, message: str
) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    ended = run_bank("evaluate", "--state", state.path, "--data", tmp_path / "rows.parquet")
    assert ended.code == 3
    ended.error()
    assert pd.Series([ended.err]).str.contains(message).all(), ended.err
    kept = list((state.path / "runs" / "r1" / "evaluation").glob("*.json"))
    assert kept == []
    assert not (state.path / "runs" / "r1" / "judged.json").exists()


@pytest.mark.parametrize(
    ("changes", "has_model", "code", "message"),
    [
        ({}, False, 5, "has no accepted model at this bank; finish it first with 'bank-node sear"),
        (
            {"contract": CONTRACT.model_copy(update={"judge_until": None})},
            True,
            2,
            "its contract has no judge window",
        ),
        (
            {
                "kind": RunKind.TRAINING,
                "search": None,
                "contract": DataContract(kind="table", features=(FeatureSpec(name="amount"),)),
            },
            True,
            2,
            "trained on all rows of a table without times",
        ),
    ],
)
def test_runs_that_cannot_be_judged(
    run_bank: RunBank,
    files: list[Path],
    tmp_path: Path,
    model: bytes,
    changes: dict[str, Any],
    has_model: bool,
    code: int,
    message: str,
) -> None:
    state = bank_that_knows(
        tmp_path / "bank", run_spec(**changes), model=model if has_model else None
    )
    ended = run_bank("evaluate", "--state", state.path, "--data", files[0])
    assert ended.code == code
    assert message in ended.error()


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--gate", '[[limits]]\nmetric = "case_recal"\nat_least = 1', "did you mean 'case_recall'"),
        ("--gate", '[[limits]]\nmetric = "auc"\nat_least = 1\nchannel = "ecom"', "'ecommerce'"),
        ("--costs", 'currency = "GBP"', "costs "),
        ("--plan", "quik", "did you mean 'quick'"),
        ("--alerts-per-day", "0", "--alerts-per-day"),
    ],
)
def test_what_is_asked_wrongly_is_refused_at_once(
    run_bank: RunBank,
    state: StateDirectory,
    files: list[Path],
    tmp_path: Path,
    option: str,
    text: str,
    message: str,
) -> None:
    value: str | Path = text
    if option in ("--gate", "--costs"):
        value = tmp_path / "file.toml"
        value.write_text(text)
    ended = run_bank("evaluate", "--state", state.path, "--data", files[0], option, value)
    assert ended.code == 2
    assert message in ended.err


def test_a_training_gets_a_plan_and_shared_risk_is_left_out_of_one_own_model(
    files: list[Path],
) -> None:
    """Columns of shared risk are stood for by one of the bank's own under such a name."""
    windows = windows_of(files[0])
    names = tuple(
        f"shared_{name}" if name == "amount" else name for name in windows.train.schema.names
    )
    features = tuple(
        FeatureSpec(**{**spec.model_dump(), "name": name})
        for spec, name in zip(CONTRACT.features, names, strict=True)
    )
    contract = DataContract(kind="table", features=features)
    schema = contract_schema(contract)
    table = type(windows.train)(schema, windows.train.features, windows.train.labels)
    assert windows.select is not None
    select = type(windows.select)(schema, windows.select.features, windows.select.outcomes)
    spec = run_spec(contract=contract, parameters={**COMMON, "monotone_constraints": {names[0]: 1}})
    key = PublicKeyMessage(n="ff", fingerprint="1" * 64)
    run = PinnedRun(run_id="r1", spec=spec, cohort=("a",), public_key=key)
    plan = own_plan(run, None, has_select=True)
    own = train_own(
        run,
        Windows(table, select, counts=windows.counts),
        plan,
        on_tree=lambda name, done, total: None,
        threads=1,
    )
    assert [each.name for each in own] == ["own", "own_risk"]
    used = [
        {int(f) for tree in each.model.trees for f in tree.split_features[tree.left_children >= 0]}
        for each in own
    ]
    place = names.index("shared_amount")
    assert place not in used[0]
    assert place in used[1]
    assert own[0].model.schema == own[1].model.schema == schema
    assert better_own(own).select_auprc == max(each.select_auprc or 0 for each in own)


def test_plans() -> None:
    key = PublicKeyMessage(n="ff", fingerprint="1" * 64)

    def run_of(**changes: Any) -> PinnedRun:
        return PinnedRun(run_id="r1", spec=run_spec(**changes), cohort=("a",), public_key=key)

    training = run_of(kind=RunKind.TRAINING, search=None)
    assert own_plan(run_of(), None, has_select=True).spec == SPEC
    assert own_plan(training, None, has_select=True).text == "plan standard, 16 candidates"
    assert own_plan(run_of(), "quick", has_select=True).text == "plan quick, 8 candidates"
    alone = own_plan(training, None, has_select=False)
    assert (alone.spec, alone.common) == (None, COMMON)
    with pytest.raises(ConfigurationError, match="has no window to select by"):
        own_plan(training, "quick", has_select=False)


def test_constraints_of_columns_that_are_left_out_go_with_them() -> None:
    whole, part = FeatureSchema(("a", "b", "c"), (0, 0, 0)), FeatureSchema(("a", "c"), (0, 0))
    for given in ({"b": 1, "c": -1}, (0, 1, -1)):
        kept = without_absent({"eta": 0.1, "monotone_constraints": given}, whole, part)
        assert kept == {"eta": 0.1, "monotone_constraints": {"c": -1}}
    assert without_absent({"monotone_constraints": {"b": 1}}, whole, part) == {}


def test_a_widened_model_scores_alike(files: list[Path]) -> None:
    windows = windows_of(files[0])
    assert windows.select is not None
    found = search(SPEC, COMMON, windows.train, windows.select, SoloCommunicator()).model
    names = windows.train.schema.names
    wide = FeatureSchema(
        ("other", *names), (0, *found.schema.n_categories), ((), *found.schema.categories)
    )
    features = windows.select.features
    other = np.column_stack([np.full(len(features), np.nan, np.float32), features])
    scores = predict_margins(widened(found, wide), other)
    assert np.array_equal(scores, predict_margins(found, features))


@pytest.mark.e2e
def test_after_a_real_search_each_bank_judges_for_itself(
    make_banks: Callable[..., Banks], files: list[Path]
) -> None:
    # As few ciphertexts as can be: what is summed is the subject of other tests.
    few = {"features": CONTRACT.features[:2]}
    rungs = (SearchRung(trees=1, alive=2), SearchRung(trees=2, alive=1))
    banks = make_banks(
        3,
        kind=RunKind.SEARCH,
        contract=CONTRACT.model_copy(update=few),
        parameters={**COMMON, "max_bin": 8},
        search=SPEC.model_copy(update={"rungs": rungs}),
    )
    quiet = ("--quiet", "--log-format", "json")

    def where(bank: int) -> tuple[str | Path, ...]:
        return ("--state", banks.state(banks.names[bank]), "--data", files[bank])

    searching = [start_bank(*quiet, "search", *where(bank)) for bank in range(3)]
    for process in searching:
        ended = finish(process)
        assert ended.code == 0, ended.err
    before = (banks.state(banks.names[1]) / "audit.log").read_bytes()
    judged = finish(start_bank(*quiet, "evaluate", *where(1), "--json"))
    assert judged.code == 0, judged.err
    found = Evaluation.model_validate_json(judged.out)
    assert (found.run_id, found.bank) == (banks.run_id, banks.names[1])
    # Nothing has left the bank.
    assert (banks.state(banks.names[1]) / "audit.log").read_bytes() == before
