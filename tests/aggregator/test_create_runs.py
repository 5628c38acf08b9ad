"""Opening runs by commands: one line for a training, and refusals before anything is sent."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples.messages import EXAMPLES
from federations.fake_banks import Federation, TestKey, make_spec
from federations.server_process import ServerProcess, assert_fails, run_command, write_secret

from aggregator.operator.client import OperatorClient
from aggregator.service.state_directory import StateDirectory
from fraudfed.catalogue.presets import PRESETS
from fraudfed.catalogue.recipe import FEATURES, SHARED_FEATURES
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import (
    KeyEpochState,
    KeyEpochStatus,
    LabelHorizon,
    RunList,
    RunSpec,
    RunState,
    RunStatus,
)

DAY = 86_400
#: date -u -d 2026-06-30 +%s
UNTIL = 1_782_777_600
TRAINING = ("--train-until", "2026-06-30")


@pytest.fixture(scope="module")
def federation(
    key: TestKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, Federation]]:
    """Three banks with an active key epoch at a real service, and the operator's environment."""
    state = StateDirectory(tmp_path_factory.mktemp("operator") / "agg")
    state.create()
    with ServerProcess(state.path) as server, pytest.MonkeyPatch.context() as patch:
        federation = server.federation(state.path, key)
        for name in ("alder", "birch", "cedar"):
            federation.register(name)
        federation.make_epoch()
        patch.setenv("AGGREGATOR_URL", server.url)
        patch.setenv("AGGREGATOR_TOKEN_FILE", str(state.operator_token))
        yield server, federation


@pytest.fixture
def sent(
    federation: tuple[ServerProcess, Federation], monkeypatch: pytest.MonkeyPatch
) -> list[RunSpec]:
    """Return the descriptions that were sent to the service."""
    found: list[RunSpec] = []
    create = OperatorClient.create_run

    def note(client: OperatorClient, spec: RunSpec) -> Any:
        found.append(spec)
        return create(client, spec)

    monkeypatch.setattr(OperatorClient, "create_run", note)
    return found


def shown(run_id: str) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(run_command("runs", "show", run_id, "--json").stdout)["spec"]
    return spec


def test_one_command_opens_a_training(sent: list[RunSpec]) -> None:
    created = run_command("runs", "create-training", *TRAINING)
    assert created.returncode == 0, created.stderr
    assert created.stdout.count("\n") == 1
    assert "48 features, preset fraud, key epoch 1 with 3 banks" in created.stderr
    spec = shown(created.stdout.strip())
    assert spec == sent[0].model_dump(mode="json")
    assert spec["name"] == "training until 2026-06-30"
    assert spec["parameters"] == dict(PRESETS["fraud"].parameters)
    contract = spec["contract"]
    assert contract["train_until"] == UNTIL
    assert contract["label_horizon_days"] == LabelHorizon(days=30).model_dump(mode="json")
    assert (contract["select_until"], contract["judge_until"]) == (None, None)
    assert contract["train_from"] is None
    assert [each["name"] for each in contract["features"]] == [each.name for each in FEATURES]


def test_a_dry_run_prints_what_create_opens_byte_for_byte(
    sent: list[RunSpec], tmp_path: Path
) -> None:
    options = [*TRAINING, "--train-from", "2026-01-01T06:00:00Z", "--preset", "quick"]
    options += ["--param", "learning_rate=0.125", "--param", "max_depth=4", "--without", "*_7d"]
    options += ["--name", "J\u00fcni, \u2028 [x]", "--visibility", "members", "--max-rejoins", "0"]
    options += ["--deadline-seconds", "60", "--join-deadline-seconds", "90"]
    options += ["--require-confirmed-roster"]
    dry = run_command("runs", "create-training", *options, "--dry-run")
    assert (dry.returncode, sent) == (0, [])
    as_json = run_command("runs", "create-training", *options, "--dry-run", "--json")
    assert as_json.stdout == dry.stdout
    file = tmp_path / "run.json"
    file.write_text(dry.stdout)
    assert run_command("runs", "create", "--spec", str(file), "--dry-run").stdout == dry.stdout
    assert run_command("runs", "create", "--spec", str(file)).returncode == 0
    assert run_command("runs", "create-training", *options).returncode == 0
    assert sent[0].model_dump_json() == sent[1].model_dump_json()
    spec = sent[0]
    assert (spec.deadline_seconds, spec.join_deadline_seconds, spec.max_rejoins) == (60, 90, 0)
    assert spec.require_confirmed_roster
    assert spec.model_visibility == "members"
    # An alias replaces the preset's value and does not stand beside it.
    assert spec.parameters["learning_rate"] == 0.125
    assert "eta" not in spec.parameters
    assert spec.parameters["max_depth"] == 4
    assert spec.contract is not None
    assert spec.contract.train_from == 1_767_225_600 + 6 * 3600
    assert not [each.name for each in spec.contract.features if each.name.endswith("_7d")]


def test_features_are_chosen_by_pattern_in_the_order_of_the_recipe(sent: list[RunSpec]) -> None:
    chosen = ["--feature", "channel", "--feature", "amount*", "--without", "amount_over_*"]
    assert run_command("runs", "create-training", *TRAINING, *chosen).returncode == 0
    assert sent[0].contract is not None
    assert [each.name for each in sent[0].contract.features] == ["amount", "channel"]


def test_an_own_contract_is_taken_as_it_is(sent: list[RunSpec], tmp_path: Path) -> None:
    contract = {"kind": "table", "label": "Class", "features": [{"name": "V1"}, {"name": "V2"}]}
    file = tmp_path / "credit.json"
    file.write_text(json.dumps(contract))
    made = run_command("runs", "create-training", "--contract", str(file), "--preset", "parity")
    assert made.returncode == 0, made.stderr
    assert sent[0].contract is not None
    assert sent[0].contract.label == "Class"
    assert (sent[0].name, sent[0].parameters) == ("training on credit", {})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("--train-until is missing",)),
        ((*TRAINING, "--train-from", "2026-06-30"), ("--train-from 2026-06-30", "lie before")),
        ((*TRAINING, "--train-from", "2026-05-31"), ("--label-horizon-days 30", "no payment")),
        (("--train-until", "30.06.2026"), ("--train-until",)),
        (("--train-until", "2026-02-29"), ("--train-until",)),
        ((*TRAINING, "--label-horizon-days", "-1"), ("--label-horizon-days",)),
        ((*TRAINING, "--label-horizon-days", "1001"), ("--label-horizon-days",)),
        ((*TRAINING, "--label-horizon", "cheque=3"), ("'cheque=3'", "CHANNEL=DAYS", "transfer")),
        ((*TRAINING, "--label-horizon", "pos"), ("CHANNEL=DAYS",)),
        ((*TRAINING, "--label-horizon", "pos=1001"), ("at most 1000 days",)),
        ((*TRAINING, *("--label-horizon", "pos=3") * 2), ("pos is given twice",)),
        (("--select-until", "2026-06-30"), ("--train-until is missing",)),
        ((*TRAINING, "--select-until", "2026-06-30"), ("--select-until 2026-06-30", "lie before")),
        (
            (*TRAINING, "--select-until", "2026-08-30", "--judge-until", "2026-08-01"),
            ("--select-until 2026-08-30 does not lie before --judge-until 2026-08-01",),
        ),
        (
            (*TRAINING, "--judge-until", "2026-08-01", "--gap-days", "2"),
            ("--train-until 2026-06-30 plus 2 days", "before --judge-until 2026-08-01"),
        ),
        (
            (*TRAINING, "--param", "early_stopping_rounds=5"),
            ("early_stopping_rounds is 5", "no select_until"),
        ),
        ((*TRAINING, "--preset", "fruad"), ("--preset", "did you mean 'fraud'")),
        ((*TRAINING, "--param", "eta"), ("--param 'eta'", "NAME=VALUE")),
        ((*TRAINING, "--param", "eta="), ("--param 'eta='", "NAME=VALUE")),
        ((*TRAINING, "--param", "eta=-1"), ("--param", "[0, 1000]")),
        ((*TRAINING, "--param", "eta=NaN"), ("--param", "[0, 1000]")),
        ((*TRAINING, "--param", "max_bin=257"), ("max_bin is 257", "[2, 256]")),
        ((*TRAINING, "--param", "num_boost_round=0"), ("num_boost_round", "[1, 100000]")),
        ((*TRAINING, "--param", "max_depth=0"), ("max_depth and max_leaves are both 0",)),
        ((*TRAINING, "--param", "max_dept=3"), ("did you mean 'max_depth'",)),
        ((*TRAINING, "--param", "interaction_constraints=[[0]]"), ("unknown parameter",)),
        ((*TRAINING, "--param", "objective=reg:squarederror"), ("binary:logistic",)),
        ((*TRAINING, "--param", "eta=0.1", "--param", "learning_rate=1"), ("given before",)),
        (
            (*TRAINING, "--param", 'monotone_constraints={"amuont": 1}'),
            ("no feature 'amuont'", "did you mean 'amount'"),
        ),
        (
            (*TRAINING, "--param", 'monotone_constraints={"channel": 1}'),
            ("'channel'", "categorical"),
        ),
        ((*TRAINING, "--feature", "amuont"), ("--feature 'amuont'", "matches no feature")),
        ((*TRAINING, "--without", "shared_*"), ("--without 'shared_*'", "without --shared-risk")),
        ((*TRAINING, "--feature", "amount", "--without", "a*"), ("leave no feature",)),
        ((*TRAINING, "--shared-risk", "latest"), ("--shared-risk latest", "create-risk")),
        ((*TRAINING, "--shared-risk", "abcd"), ("--shared-risk abcd", "no run 'abcd'")),
        ((*TRAINING, "--shared-risk", "../x"), ("--shared-risk ../x", "is no run id")),
        ((*TRAINING, "--recipe", "fraudfed-card-0"), ("--recipe",)),
        ((*TRAINING, "--key-epoch", "2"), ("--key-epoch", "no key epoch 2")),
        ((*TRAINING, "--min-cohort", "4"), ("min_cohort is 4", "has 3 banks")),
        ((*TRAINING, "--min-cohort", "2"), ("--min-cohort", "3<=x<=1000")),
        ((*TRAINING, "--deadline-seconds", "0"), ("--deadline-seconds",)),
        ((*TRAINING, "--max-rejoins", "-1"), ("--max-rejoins",)),
        ((*TRAINING, "--name", ""), ("name",)),
        ((*TRAINING, "--name", "n" * 201), ("name", "200 characters")),
        ((*TRAINING, "--contract", "/none.json"), ("--train-until and --contract",)),
        (("--contract", "/none.json"), ("/none.json cannot be read",)),
    ],
)
def test_a_training_that_cannot_work_is_refused_before_it_is_sent(
    sent: list[RunSpec], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_fails(run_command("runs", "create-training", *options), 2, *words)
    assert sent == []


def contract(**changes: Any) -> dict[str, Any]:
    return {"kind": "table", "features": [{"name": "x"}], **changes}


def search(other: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"name": "a"}, other], "rungs": [{"trees": 2, "alive": 2}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contract": contract(features=[{"name": "rate [%]"}])}, ("'rate [%]'", "XGBoost")),
        ({"contract": contract(features=[{"name": "a"}, {"name": "a"}])}, ("distinct",)),
        ({"contract": contract(label="x")}, ("'x' is a feature and the label",)),
        ({"contract": contract(recipe="fraudfed-card-2")}, ("recipe",)),
        (
            {"contract": contract(kind="transactions", recipe="fraudfed-card-9")},
            ("recipe 'fraudfed-card-9'",),
        ),
        (
            {"contract": contract(kind="transactions", recipe="fraudfed-card-2")},
            ("feature 'x' is none of recipe",),
        ),
        ({"parameters": {"eta": "fast"}}, ("eta is 'fast'",)),
        ({"parameters": {"monotone_constraints": [0, 1]}}, ("has 2 entries",)),
        ({"parameters": {"early_stopping_rounds": 0}}, ("early_stopping_rounds",)),
        (
            {"kind": "search", "search": search({"name": "b", "parameters": {"max_dept": 1}})},
            ("candidate 'b'", "did you mean 'max_depth'?"),
        ),
        ({"min_cohort": 2}, ("min_cohort is 2, expected at least 3",)),
        ({"min_cohort": 5}, ("min_cohort is 5", "has 3 banks")),
        ({"key_epoch": 7}, ("no key epoch 7",)),
        ({"key_epoch": 0}, ("key_epoch is 0",)),
        ({"deadline_seconds": 0}, ("deadline_seconds is 0",)),
        ({"colour": "red"}, ("colour",)),
    ],
)
def test_a_description_that_cannot_work_is_refused_by_the_command_and_by_the_service(
    federation: tuple[ServerProcess, Federation],
    sent: list[RunSpec],
    tmp_path: Path,
    changes: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    file = tmp_path / "run.json"
    spec = {**make_spec(), **changes}
    file.write_text(json.dumps(spec))
    assert_fails(run_command("runs", "create", "--spec", str(file)), 2, str(file), *words)
    assert sent == []
    if "min_cohort" in changes or changes.get("key_epoch") == 7:
        return
    answer = federation[1].operate("POST", "/v1/runs", json=spec)
    assert answer.problem() == (422, "run-description")
    assert all(word in answer.json()["detail"] for word in words)


def test_the_same_description_without_the_fault_is_accepted(
    sent: list[RunSpec], tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(make_spec()))
    assert run_command("runs", "create", "--spec", str(file)).returncode == 0
    assert len(sent) == 1


def test_what_is_no_description_is_refused_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for text in ("", "{", "[]", '{"name": "x"}', "\ufeff{}"):
        file.write_text(text)
        assert_fails(run_command("runs", "create", "--spec", str(file)), 2, str(file))
    file.write_text(json.dumps({**make_spec(), "protocol_version": 9}))
    assert_fails(run_command("runs", "create", "--spec", str(file)), 8, "protocol version is 9")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("2026-02-01", "2026-01-05", "--delay-days", "7"), "last_day"),
        (("2026-01-05", "2026-02-01", "--delay-days", "1001"), "delay_days"),
        (("2026-01-05", "2026-02-01", "--delay-days", "7", "--fraud-width", "300"), "power of two"),
        (("2026-01-05", "2026-02-01", "--delay-days", "7", "--depth", "0"), "depth"),
        (("2300-01-01", "2300-01-02", "--delay-days", "7"), "first_day"),
        (
            ("2026-01-05", "2026-02-01", "--delay-days", "7", *("--entity", "payee") * 2),
            "entities must be distinct",
        ),
        (("2026-01-05", "2026-02-01", "--delay-days", "7", "--min-cohort", "9"), "3 banks"),
    ],
)
def test_a_risk_run_that_cannot_work_is_refused_before_it_is_sent(
    sent: list[RunSpec], options: tuple[str, ...], word: str
) -> None:
    assert_fails(run_command("runs", "create-risk", *options), 2, word)
    assert sent == []


def test_a_dry_run_of_a_risk_run_prints_it(sent: list[RunSpec], tmp_path: Path) -> None:
    options = ["2026-01-05", "2026-02-01", "--delay-days", "7", "--entity", "payee"]
    dry = run_command("runs", "create-risk", *options, "--dry-run")
    assert sent == []
    file = tmp_path / "risk.json"
    file.write_text(dry.stdout)
    assert run_command("runs", "create", "--spec", str(file)).returncode == 0
    assert run_command("runs", "create-risk", *options).returncode == 0
    assert sent[0] == sent[1]


def test_a_risk_run_with_noise_is_described_by_its_epsilon(sent: list[RunSpec]) -> None:
    options = ["2026-01-01", "2026-01-31", "--epsilon", "3"]
    assert run_command("runs", "create-risk", *options).returncode == 0
    (spec,) = sent
    assert spec.risk is not None
    assert spec.risk.privacy is not None
    assert (spec.risk.privacy.epsilon, spec.risk.privacy.tolerated_colluders) == (3.0, 1)
    assert (spec.risk.depth, spec.risk.min_customers, spec.risk.days_per_step) == (1, 1, 31)
    # What is typed is not replaced, but refused.
    assert_fails(run_command("runs", "create-risk", *options, "--depth", "4"), 2, "expected 1")


def finished(run_id: str, first: int, last: int, **changes: Any) -> RunStatus:
    """Return what the service says of a finished risk run of three banks."""
    risk = {"first_day": first, "last_day": last, "delay_days": 0, **changes}
    spec = RunSpec(name="r", key_epoch=1, kind="risk", risk=risk, model_visibility="members")
    return EXAMPLES[RunStatus].model_copy(  # type: ignore[return-value]
        update={
            "run_id": run_id,
            "spec": spec,
            "state": RunState.FINISHED,
            "cohort": ("alder", "birch", "cedar"),
            "model_sha256": run_id * 64,
        }
    )


def test_the_newest_tables_are_named_and_bring_their_features(
    sent: list[RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = UNTIL // DAY - 32
    found = RunList(
        runs=(
            finished("c", last - 5, last, entities=["payee"]),
            finished("b", last - 40, last - 3),
            finished("a", last - 60, last - 30),
        )
    )
    monkeypatch.setattr(OperatorClient, "list_runs", lambda _: found)
    made = run_command("runs", "create-training", *TRAINING, "--shared-risk", "latest")
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("shared risk: ") == 4
    assert "count as empty" in made.stderr
    assert sent[0].contract is not None
    assert sent[0].contract.shared_risk == ("a" * 64, "b" * 64, "c" * 64)
    names = [each.name for each in sent[0].contract.features]
    payee = [each.name for each in SHARED_FEATURES if each.name.startswith("shared_payee_")]
    assert names == [each.name for each in FEATURES] + payee
    by_id = {run.run_id: run for run in found.runs}
    monkeypatch.setattr(OperatorClient, "show_run", lambda _, run_id: by_id[run_id])
    named = ["--shared-risk", "b", "--shared-risk", "c", "--feature", "shared_payee_*"]
    assert run_command("runs", "create-training", *TRAINING, *named).returncode == 0
    assert sent[1].contract is not None
    assert sent[1].contract.shared_risk == ("b" * 64, "c" * 64)
    assert [each.name for each in sent[1].contract.features] == payee
    for options, word in (
        (("b", "b"), "names a run twice"),
        (("b", "latest"), "exclude each other"),
        (("b",), "2 days have no table"),
    ):
        tables = [text for name in options for text in ("--shared-risk", name)]
        refused = run_command("runs", "create-training", *TRAINING, *tables)
        assert_fails(refused, 2, "--shared-risk", word)
    only = ["--shared-risk", "latest", "--feature", "amount"]
    assert_fails(
        run_command("runs", "create-training", *TRAINING, *only), 2, "no feature of shared"
    )


@pytest.mark.parametrize(
    ("state", "acknowledged", "words"),
    [
        (KeyEpochState.PENDING, 1, ("is pending", "it waits for bank-1, bank-2")),
        (KeyEpochState.SUPERSEDED, 3, ("is superseded", "expected one that is active")),
    ],
)
def test_a_key_epoch_that_is_not_active_is_refused_before_it_is_sent(
    sent: list[RunSpec],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    state: KeyEpochState,
    acknowledged: int,
    words: tuple[str, ...],
) -> None:
    example = EXAMPLES[KeyEpochStatus]
    signed = [
        example.acknowledged[0].model_copy(update={"bank": f"bank-{number}"})
        for number in range(acknowledged)
    ]
    status = example.model_copy(update={"state": state, "acknowledged": tuple(signed)})
    monkeypatch.setattr(OperatorClient, "key_epoch", lambda *_: status)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(make_spec()))
    for command in (
        ("create-training", *TRAINING),
        ("create-risk", "2026-01-05", "2026-02-01", "--delay-days", "7"),
        ("create", "--spec", str(file)),
    ):
        assert_fails(run_command("runs", *command), 2, "key epoch", *words)
    assert sent == []


def test_presets_are_listed_and_are_parameters() -> None:
    listed = json.loads(run_command("runs", "presets", "--json").stdout)["presets"]
    assert [each["name"] for each in listed] == list(PRESETS)
    for each in listed:
        BoosterParams.parse(each["parameters"])
    assert "fraud: " in run_command("runs", "presets").stdout


def test_the_environment_spares_the_options_and_holds_no_token(tmp_path: Path) -> None:
    helped = run_command("runs", "create-training", "--help").stdout
    assert "AGGREGATOR_URL" in helped
    assert "AGGREGATOR_TOKEN_FILE" in helped
    write_secret(tmp_path / "other", "unknown\n")
    assert run_command("runs", "list").returncode == 0
    # An option on the command line goes before the environment.
    other = ["--token-file", str(tmp_path / "other")]
    assert_fails(run_command("runs", "list", *other), 7, "unknown to this aggregator")
