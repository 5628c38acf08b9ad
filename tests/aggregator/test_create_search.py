"""An operator opens a search by one command, and the training of what it chose by another."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from examples.search import COMMON, CONTRACT, SPEC, rows_of, search_run

import aggregator.commands.creating.search
import aggregator.commands.creating.training
from aggregator.cli import cli
from aggregator.commands.creating.from_search import refit_contract
from fraudfed.catalogue.plans import PLANS
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.communicator import SoloCommunicator
from fraudfed.intake.plain_table import contract_schema
from fraudfed.wire.messages import (
    DataContract,
    KeyEpochState,
    ModelVisibility,
    RunCreated,
    RunKind,
    RunSpec,
    RunState,
)

#: date -ud 2026-04-30 +%s, and so forth
TRAIN, SELECT, JUDGE = 1_777_507_200, 1_781_481_600, 1_785_456_000
_ROSTER = tuple(SimpleNamespace(name=name) for name in "abc")
WINDOWS = ("--train-until", "2026-04-30", "--select-until", "2026-06-15")
CHOICE: dict[str, Any] = {
    "choice": {
        "name": "deep",
        "trees": 5,
        "parameters": {
            "max_depth": 3,
            "lambda": 10.0,
            "num_boost_round": 5,
            "eval_metric": "aucpr",
        },
    }
}


class Client:
    """Keeps what it is told to create, and knows one finished run."""

    def __init__(self) -> None:
        self.specs: list[RunSpec] = []
        self.run = search_run(7)
        self.state = RunState.FINISHED
        self.content = json.dumps(CHOICE).encode() + b"\n{}"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def key_epoch(self, number: int | None) -> SimpleNamespace:
        key = SimpleNamespace(n="f" * 768)
        epoch = SimpleNamespace(epoch=7, roster=_ROSTER, public_key=key)
        return SimpleNamespace(key_epoch=epoch, state=KeyEpochState.ACTIVE)

    def create_run(self, spec: RunSpec) -> RunCreated:
        self.specs.append(spec)
        return RunCreated(run_id="r1")

    def show_run(self, run_id: str) -> SimpleNamespace:
        return SimpleNamespace(run_id=run_id, spec=self.run, state=self.state)

    def model(self, run_id: str) -> bytes:
        return self.content


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    for module in (aggregator.commands.creating.search, aggregator.commands.creating.training):
        monkeypatch.setattr(module, "opened_client", lambda **_: made)
    return made


def run(tmp_path: Path, command: str, *options: str) -> Result:
    token = tmp_path / "token"
    token.write_text("secret")
    return CliRunner().invoke(cli, ("runs", command, "--token-file", str(token), *options))


def refusal(ended: Result) -> str:
    assert ended.exit_code != 0
    return f"{ended.output}{ended.exception}"


def write(path: Path, *candidates: dict[str, Any]) -> str:
    path.write_text(json.dumps(candidates))
    return str(path)


def contract_file(tmp_path: Path) -> str:
    path = tmp_path / "contract.json"
    path.write_text(CONTRACT.model_dump_json())
    return str(path)


@pytest.mark.parametrize("plan", [None, *PLANS])
def test_a_plan_is_filled_in_for_the_features_of_the_recipe(
    client: Client, tmp_path: Path, plan: str | None
) -> None:
    options = () if plan is None else ("--plan", plan)
    ended = run(tmp_path, "create-search", *WINDOWS, "--judge-until", "2026-07-31", *options)
    assert ended.exit_code == 0, ended.output
    (spec,) = client.specs
    assert (spec.kind, spec.key_epoch) == (RunKind.SEARCH, 7)
    assert spec.name == f"search {plan or 'standard'} until 2026-04-30"
    assert spec.contract is not None
    cutoffs = (spec.contract.train_until, spec.contract.select_until, spec.contract.judge_until)
    assert cutoffs == (TRAIN, SELECT, JUDGE)
    found = PLANS[plan or "standard"]
    assert spec.parameters == dict(found.common)
    assert spec.search == found.spec_for(spec.contract)


def test_what_all_share_rungs_and_the_way_to_compare_are_the_operators(
    client: Client, tmp_path: Path
) -> None:
    options = ("--param", "learning_rate=0.2", "--rungs", "5:8, 9:1", "--select-by", "pooled")
    ended = run(tmp_path, "create-search", *WINDOWS, "--plan", "quick", *options, "--patience", "0")
    assert ended.exit_code == 0, ended.output
    assert "8 candidates (rungs 5:8,9:1)" in ended.output
    (spec,) = client.specs
    assert spec.search is not None
    assert [(rung.trees, rung.alive) for rung in spec.search.rungs] == [(5, 8), (9, 1)]
    assert (spec.search.select_by.value, spec.search.patience) == ("pooled", None)
    assert spec.parameters["learning_rate"] == 0.2
    assert "eta" not in spec.parameters


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_candidates_come_from_a_file(client: Client, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    if suffix == ".toml":
        path.write_text(
            "[[candidates]]\nmax_depth = 3\nmin_child_share = 0.02\n"
            '[[candidates]]\nname = "deep"\nmax_depth = 8\nlambda = 10\n'
        )
    else:
        sets = [{"max_depth": 3, "min_child_share": 0.02}]
        write(path, *sets, {"name": "deep", "max_depth": 8, "lambda": 10})
    options = ("--contract", contract_file(tmp_path), "--candidates", str(path))
    ended = run(tmp_path, "create-search", *options, "--dry-run")
    assert ended.exit_code == 0, ended.output
    spec = RunSpec.model_validate_json(ended.stdout)
    assert client.specs == []
    assert spec.name == "search mine on contract"
    assert spec.search is not None
    one, deep = spec.search.candidates
    assert (one.name, one.parameters, one.min_child_share) == (
        "candidate-1",
        {"max_depth": 3},
        0.02,
    )
    assert (deep.name, deep.parameters) == ("deep", {"max_depth": 8, "lambda": 10})
    assert [(rung.trees, rung.alive) for rung in spec.search.rungs] == [(20, 2), (200, 1)]


def test_rungs_of_a_file_narrow_as_those_of_the_plans(client: Client, tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", *({"eta": i / 100} for i in range(1, 17)))
    options = ("--contract", contract_file(tmp_path), "--candidates", path)
    assert run(tmp_path, "create-search", *options).exit_code == 0
    (spec,) = client.specs
    assert spec.search is not None
    assert spec.search.rungs == PLANS["standard"].spec.rungs


A, B = {"name": "a", "max_depth": 3}, {"name": "b", "max_depth": 4}


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        ([A, {"name": "b", "max_dept": 3}], (), "candidate 'b': unknown parameter 'max_dept'"),
        ([A, {"name": "b", "eta": -1}], (), "candidate 'b': parameter eta is -1"),
        ([A, {**B, "num_boost_round": 3}], (), "candidate 'b': num_boost_round"),
        ([A, {**B, "min_child_weight": 3, "min_child_share": 0.1}], (), "contradict each other"),
        ([A, {**A, "name": "b"}], (), "'a' and 'b' are the same"),
        ([A, {**B, "name": "a"}], (), "names of candidates must be distinct"),
        ([A, {**B, "min_child_share": 2}], (), "min_child_share"),
        ([A], (), "candidates"),
        ([A, {"name": "b", "parameters": {"eta": 1}}], (), "expected these beside its name"),
        ([A, B], ("--plan", "quick"), "--plan and --candidates exclude each other"),
        ([A, B], ("--param", "max_depth=5"), "every candidate has a value of its own"),
        ([A, B], ("--param", "seeed=5"), "unknown parameter 'seeed'"),
        ([A, B], ("--rungs", "20:2;50:1"), "is no rung, expected TREES:ALIVE"),
        ([A, B], ("--rungs", "20:3,50:1"), "expected all of 2"),
        ([A, B], ("--rungs", "20:2,10:1"), "expected them ascending"),
        ([A, B], ("--min-cohort", "9"), "min_cohort is 9"),
        ([], (), "candidates"),
    ],
)
def test_what_cannot_be_is_refused_with_the_candidates_name(
    client: Client,
    tmp_path: Path,
    candidates: Sequence[dict[str, Any]],
    options: tuple[str, ...],
    message: str,
) -> None:
    path = write(tmp_path / "mine.json", *candidates)
    given = ("--contract", contract_file(tmp_path), "--candidates", path, *options)
    assert message in refusal(run(tmp_path, "create-search", *given))
    assert client.specs == []


def test_a_select_window_is_needed_and_a_file_must_be_one(client: Client, tmp_path: Path) -> None:
    ended = run(tmp_path, "create-search", "--train-until", "2026-04-30")
    assert "has no select_until, expected one" in refusal(ended)
    given = ("--contract", contract_file(tmp_path), "--candidates")
    for name, text, message in (
        ("none.json", None, "cannot be read"),
        ("a.json", "[", "not readable as JSON"),
        ("a.toml", "[[", "not readable as TOML"),
        ("b.json", "[3]", "holds no list of parameter sets"),
        ("c.json", '{"a": 1}', "holds no list of parameter sets"),
    ):
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        assert message in refusal(run(tmp_path, "create-search", *given, str(path)))
    assert client.specs == []


def test_the_refit_trains_what_was_chosen_up_to_the_last_cutoff(
    client: Client, tmp_path: Path
) -> None:
    contract = DataContract(
        kind="transactions",
        recipe=RECIPE,
        features=contract_features(),
        train_until=TRAIN,
        select_until=SELECT,
        judge_until=JUDGE,
    )
    client.run = search_run(7, contract=contract)
    ended = run(tmp_path, "create-training", "--from-search", "r0")
    assert ended.exit_code == 0, ended.output
    assert "nobody has judged; a challenger" in ended.output
    (spec,) = client.specs
    assert (spec.kind, spec.name) == (RunKind.TRAINING, "refit of deep (challenger, not judged)")
    # What is as by default is not named.
    assert spec.parameters == {"max_depth": 3, "lambda": 10.0, "num_boost_round": 5}
    assert spec.contract is not None
    assert (spec.contract.train_until, spec.contract.last_cutoff) == (JUDGE, JUDGE)
    assert spec.contract.select_until is None
    assert refit_contract(CONTRACT) == CONTRACT


def test_a_file_of_a_bank_gives_the_parameters_alone(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    path.write_text(json.dumps(CHOICE) + "\n")
    options = ("--from-search", str(path), "--train-until", "2026-07-31")
    ended = run(tmp_path, "create-training", *options)
    assert ended.exit_code == 0, ended.output
    (spec,) = client.specs
    assert spec.name == "refit of deep (challenger, not judged), until 2026-07-31"
    assert spec.parameters == {"max_depth": 3, "lambda": 10.0, "num_boost_round": 5}


def test_a_refit_of_what_was_really_found(client: Client, tmp_path: Path) -> None:
    from fraudfed.boosting.table import TrainingTable
    from fraudfed.intake.windows import windows_by_share
    from fraudfed.search.search import search

    rows = rows_of(0)
    codes = rows["channel"].map({"pos": 0, "web": 1, "atm": 2}).to_numpy("float32")
    features = rows[["amount", "age"]].assign(channel=codes).to_numpy("float32")
    labels = rows["is_fraud"].to_numpy("float32")
    table = TrainingTable(contract_schema(CONTRACT), features, labels)
    windows = windows_by_share(table, seed=0, select=True)
    assert windows.select is not None
    found = search(SPEC, COMMON, windows.train, windows.select, SoloCommunicator())
    client.content = found.to_json() + found.model.to_json()
    assert run(tmp_path, "create-training", "--from-search", "r0").exit_code == 0
    (spec,) = client.specs
    assert found.winner in spec.name
    assert spec.parameters["num_boost_round"] == len(found.model.trees)
    assert spec.parameters["subsample"] == COMMON["subsample"]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"state": RunState.TRAINING}, (), "is training, expected a finished search"),
        ({"run": RunSpec(name="t", key_epoch=1, contract=CONTRACT)}, (), "of kind training"),
        (
            {"run": search_run(7, model_visibility=ModelVisibility.MEMBERS)},
            (),
            "sealed to the members; ask a bank for runs/r0/search.json",
        ),
        ({"content": b"{}"}, (), "is no result of a search"),
        ({"content": b"{}\n{}"}, (), "is no result of a search"),
        ({"content": b'{"choice":{"name":"a","parameters":{"x":1}}}\n{}'}, (), "unknown parameter"),
        ({}, ("--preset", "quick"), "--preset and --from-search exclude each other"),
        ({}, ("--param", "eta=0.1"), "--param and --from-search exclude each other"),
        ({}, ("--train-until", "2026-07-31"), "--train-until and --from-search RUN_ID exclude"),
        ({}, ("--shared-risk", "latest"), "--shared-risk and --from-search RUN_ID exclude"),
    ],
)
def test_a_refit_of_what_is_not_there_is_refused(
    client: Client,
    tmp_path: Path,
    changes: dict[str, Any],
    options: tuple[str, ...],
    message: str,
) -> None:
    for name, value in changes.items():
        setattr(client, name, value)
    ended = run(tmp_path, "create-training", "--from-search", "r0", *options)
    assert message in refusal(ended)
    assert client.specs == []
