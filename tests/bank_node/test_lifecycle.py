"""Stages of models: what moves them, what refuses to, and what stays written."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from federations.bank_process import Finished
from hypothesis import given
from hypothesis import strategies as st
from judging.evaluations import judged
from judging.payments import CONTRACT, bank_that_knows, payments, run_spec

from bank_node.data.contract import TableShares, load_training_rows
from bank_node.lifecycle.lineage import ListedModels, ModelLineage
from bank_node.lifecycle.stage_history import Action, Stage, StageEvent, StagesNow
from bank_node.lifecycle.stages import StageDirectory, StagedModel, Stages
from bank_node.state.directory import StateDirectory
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import ConfigurationError
from fraudfed.gate.decision import Verdict
from fraudfed.parameters import BoosterParams

RunBank = Callable[..., Finished]
SHA = [hashlib.sha256(bytes([number])).hexdigest() for number in range(4)]


def staged(number: int) -> StagedModel:
    return StagedModel(
        sha256=SHA[number], run_id=f"r{number}", name="shared", recipe="x", uses_shared_risk=False
    )


def event(stages: Stages, action: Action, number: int) -> StageEvent:
    stage = {
        Action.PROMOTE: Stage.CHAMPION,
        Action.CHALLENGE: Stage.CHALLENGER,
        Action.FALLBACK: Stage.FALLBACK,
        Action.RETIRE: Stage.RETIRED,
    }
    if action is Action.ROLLBACK:
        model, moves = stages.rolled_back()
    else:
        model = staged(number)
        moves = stages.moves_to(model, stage[action])
    return StageEvent(at=1, by="a", action=action, model_sha256=model.sha256, moves=moves)


@given(st.lists(st.tuples(st.sampled_from(list(Action)), st.integers(0, 3)), max_size=15))
def test_stages_follow_from_the_history_and_a_rollback_undoes_a_promotion(
    wishes: list[tuple[Action, int]],
) -> None:
    stages = Stages()
    for action, number in wishes:
        before = stages
        try:
            made = event(stages, action, number)
        except ConfigurationError:
            continue
        stages = stages.after(made, staged(SHA.index(made.model_sha256)))
        assert Stages.model_validate_json(stages.model_dump_json()) == stages
        held = [stages.champion, stages.challenger, stages.fallback]
        assert len({each for each in held if each}) == sum(each is not None for each in held)
        if action is Action.PROMOTE and before.champion is not None:
            back, _ = stages.rolled_back()
            assert back.sha256 == before.champion


def test_a_history_that_cannot_have_happened_is_refused() -> None:
    stages = Stages()
    for number in (0, 1):
        stages = stages.after(event(stages, Action.PROMOTE, number), staged(number))
    for change in (
        {"champion": SHA[0]},
        {"history": stages.history[1:]},
        {"models": stages.models[:1]},
        {"history": (*stages.history, stages.history[1])},
    ):
        with pytest.raises(ValueError, match=r"history|event|models"):
            Stages.model_validate({**stages.model_dump(), **change})
    with pytest.raises(ValueError, match="event 1 takes a model"):
        StagesNow(stages.history[1:])


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    payments(0, 600).to_parquet(path)
    shares = TableShares(select=True, judge=True)
    rows = load_training_rows(path, CONTRACT, shares=shares).windows.train
    found = {}
    for name, trees in (("shared", 3), ("own", 2), ("later", 4)):
        params = BoosterParams(num_boost_round=trees, max_depth=2, max_bin=16)
        found[name] = train(params, rows, SoloCommunicator()).model.to_json()
    return found


@pytest.fixture
def state(tmp_path: Path, models: dict[str, bytes]) -> StateDirectory:
    return bank_that_knows(tmp_path / "bank", run_spec(), model=models["shared"])


def test_the_gate_decides_what_is_put_in_charge(
    run_bank: RunBank, state: StateDirectory, models: dict[str, bytes]
) -> None:
    def promote(*more: str) -> Finished:
        return run_bank("models", "promote", "--state", state.path, *more)

    ended = promote("r1")
    assert (ended.code, "bank-node evaluate --run r1" in ended.err) == (5, True)
    for verdict, code, words in (
        (Verdict.KEEP, 13, "keep your own model (r1/own)"),
        (Verdict.UNDECIDED, 14, "models challenge r1"),
    ):
        judged(state, models, verdict)
        ended = promote("r1")
        assert ended.code == code
        assert words in ended.err
    limit = {"limit": "auprc at least 1", "holds": False, "reason": "0.5", "cases": 60}
    judged(state, models, Verdict.ADOPT, limits=({**limit, "shared": 0.5, "own": 0.4},))
    assert promote("r1").code == 15
    # Nothing of this has left a trace.
    assert StageDirectory.of_state(state.path).read() == Stages()
    judged(state, models, Verdict.ADOPT)
    assert promote("r1/own").code == 14
    assert promote("r1").code == 0
    judged(state, models, Verdict.KEEP)
    assert promote("r1/own").code == 0
    # An evaluation of another file says nothing of this one.
    state.model_path("r1").write_bytes(models["later"])
    assert promote("r1").code == 5
    ended = promote("r1", "--without-gate", "the board wants it", "--by", "ann", "--json")
    assert ended.code == 0, ended.out
    made = StageEvent.model_validate_json(ended.out)
    assert (made.by, made.gate, made.without_gate) == ("ann", None, "the board wants it")


def test_a_life_of_models(
    run_bank: RunBank, state: StateDirectory, models: dict[str, bytes], tmp_path: Path
) -> None:
    def run(*words: object) -> Finished:
        command, *more = words
        ended = run_bank("models", command, "--state", state.path, *more)
        assert ended.code == 0, ended.err
        return ended

    judged(state, models, Verdict.ADOPT)
    run("promote", "r1/own", "--fallback")
    run("promote", "r1")
    directory = StageDirectory.of_state(state.path)
    first = directory.read()
    # A later run changes nothing by itself: a bank may stay on an older version.
    other = state.pinned_run("r1")
    assert other is not None
    state.pin_run(other.model_copy(update={"run_id": "r2"}))
    state.model_path("r2").write_bytes(models["later"])
    assert directory.read() == first
    run("challenge", "r2")
    stages = directory.read()
    held = [stages.holder(each) for each in (Stage.CHAMPION, Stage.CHALLENGER, Stage.FALLBACK)]
    assert [each and each.title for each in held] == ["r1", "r2", "r1/own"]
    run("promote", "r2", "--without-gate", "better in shadow")
    # The run's files may go, and another evaluation may replace them: what is staged stays.
    state.model_path("r1").unlink()
    listed = ListedModels.model_validate_json(run("list", "--json").out)
    assert [(e.model, e.stage) for e in listed.models] == [
        ("r2", Stage.CHAMPION),
        ("r1/own", Stage.FALLBACK),
        ("r1", Stage.RETIRED),
    ]
    assert listed.previous == "r1"
    run("rollback", "--reason", "too many alerts")
    stages = directory.read()
    champion = stages.holder(Stage.CHAMPION)
    assert champion is not None
    assert directory.content(champion) == models["shared"]
    assert run_bank("models", "rollback", "--state", state.path, "--reason", "x").code == 2
    found = ModelLineage.model_validate_json(run("show", "r1", "--json").out)
    assert [e.action for e in found.history] == ["promote", "promote", "rollback"]
    assert found.run.candidates == 2
    assert found.data.contract == CONTRACT
    assert found.gate is not None
    assert found.data.windows_sha256 == "5" * 64
    kept = directory.path / "evaluations" / f"{found.gate.evaluation_sha256}.json"
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == found.gate.evaluation_sha256
    assert "too many alerts" in run("show", champion.sha256[:10]).out
    run("retire", "r1", "--reason", "stop")
    assert directory.read().champion is None


def test_what_cannot_be_used_is_refused(
    run_bank: RunBank, state: StateDirectory, models: dict[str, bytes]
) -> None:
    def refused(*words: object) -> str:
        command, *more = words
        ended = run_bank("models", command, "--state", state.path, *more)
        assert ended.code == 2, (ended.code, ended.err)
        return ended.err

    judged(state, models, Verdict.ADOPT)
    assert "do you mean r1/own?" in refused("show", "r1/owm")
    assert "is a candidate and not in use" in refused("retire", "r1", "--reason", "x")
    assert "--fallback and --without-gate" in refused(
        "promote", "r1", "--fallback", "--without-gate", "x"
    )
    assert "--reason: has 0 characters" in refused("rollback", "--reason", " ")
    assert run_bank("models", "promote", "--state", state.path, "r1").code == 0
    assert "is champion already" in refused("promote", "r1")
    assert "is the champion, expected another" in refused("challenge", "r1")
    run = state.pinned_run("r1")
    assert run is not None
    table = CONTRACT.model_copy(update={"recipe": "fraudfed-inbound-2"})
    spec = run.spec.model_copy(update={"contract": table})
    state.pin_run(run.model_copy(update={"run_id": "r3", "spec": spec}))
    state.model_path("r3").write_bytes(models["later"])
    assert "warm a store for the other recipe" in refused("challenge", "r3")


def test_a_fallback_asks_for_no_shared_risk(
    run_bank: RunBank, state: StateDirectory, models: dict[str, bytes]
) -> None:
    document = json.loads(models["shared"])
    names = document["learner"]["feature_names"]
    used = {
        f
        for tree in document["learner"]["gradient_booster"]["model"]["trees"]
        for f, left in zip(tree["split_indices"], tree["left_children"], strict=True)
        if left != -1
    }
    name = names[min(used)]
    features = tuple(
        spec.model_copy(update={"name": f"shared_{spec.name}"}) if spec.name == name else spec
        for spec in CONTRACT.features
    )
    run = state.pinned_run("r1")
    assert run is not None
    contract = CONTRACT.model_copy(update={"features": features})
    spec = run.spec.model_copy(update={"contract": contract})
    state.pin_run(run.model_copy(update={"spec": spec}))
    risky = models["shared"].replace(f'"{name}"'.encode(), f'"shared_{name}"'.encode())
    state.model_path("r1").write_bytes(risky)
    ended = run_bank("models", "promote", "--state", state.path, "r1", "--fallback")
    assert ended.code == 2
    assert "asks for features of shared risk" in ended.err


def test_damaged_files_are_told(
    run_bank: RunBank, state: StateDirectory, models: dict[str, bytes]
) -> None:
    judged(state, models, Verdict.ADOPT)
    assert run_bank("models", "promote", "--state", state.path, "r1").code == 0
    directory = StageDirectory.of_state(state.path)
    path = directory.path / "lifecycle.json"
    text = path.read_text()
    for damaged in (text[:40], text.replace('"champion": "', '"champion": "0', 1), "[]"):
        path.write_text(damaged)
        ended = run_bank("models", "list", "--state", state.path)
        assert ended.code == 5
        assert "is no life cycle of models" in ended.err
    path.write_text(text)
    champion = directory.read().holder(Stage.CHAMPION)
    assert champion is not None
    directory.model_path(champion.sha256).write_bytes(models["own"])
    state.model_path("r1").unlink()
    ended = run_bank("models", "show", "--state", state.path, "r1")
    assert (ended.code, "is not the model of r1 that was staged" in ended.err) == (5, True)


def test_one_command_at_a_time(run_bank: RunBank, state: StateDirectory) -> None:
    with StageDirectory.of_state(state.path).changing():
        ended = run_bank("models", "promote", "--state", state.path, "r1", "--without-gate", "x")
    assert (ended.code, "another process changes" in ended.err) == (5, True)


def kills_of(state: StateDirectory, work: Path, *command: str) -> list[tuple[str, StageDirectory]]:
    """Kill a command before each of its steps; return how each process ended, and what it left."""
    work.mkdir()
    words = [sys.executable, "-m", "tests.support.killed_models_child"]
    ended = subprocess.run(
        [*words, str(state.path), str(work), *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return [
        (word, StageDirectory.of_state(work / str(number)))
        for number, word in enumerate(ended.stdout.split())
    ]


@pytest.mark.e2e
@pytest.mark.parametrize("command", ["promote", "rollback", "retire"])
def test_a_command_that_is_killed_has_done_all_of_it_or_nothing(
    run_bank: RunBank,
    state: StateDirectory,
    models: dict[str, bytes],
    tmp_path: Path,
    command: str,
) -> None:
    """Real processes, and SIGKILL before every call that changes the disk."""
    judged(state, models, Verdict.ADOPT)
    pinned = state.pinned_run("r1")
    assert pinned is not None
    state.pin_run(pinned.model_copy(update={"run_id": "r2"}))
    state.model_path("r2").write_bytes(models["later"])
    without = ("--without-gate", "x")
    made = {
        "promote": ([("promote", "r1")], ("promote", "r2", *without)),
        "rollback": (
            [("promote", "r1"), ("promote", "r2", *without)],
            ("rollback", "--reason", "x"),
        ),
        "retire": ([("promote", "r1")], ("retire", "r1", "--reason", "x")),
    }
    before, words = made[command]
    for one, *more in before:
        assert run_bank("models", one, "--state", state.path, *more).code == 0
    old = StageDirectory.of_state(state.path).read()
    ended = kills_of(state, tmp_path / "killed", *words)
    found = [directory.read() for _, directory in ended]
    # The last process was not killed: what it left is the new state.
    assert ended[-1][0] == "0"
    assert [word for word, _ in ended[:-1]] == ["killed"] * (len(ended) - 1)
    new = found[-1]
    assert len(new.history) == len(old.history) + 1

    def shape(stages: Stages) -> tuple[object, ...]:
        events = [(e.action, e.model_sha256) for e in stages.history]
        return stages.champion, stages.challenger, stages.fallback, stages.models, events

    turns = [shape(stages) for stages in found]
    n_old = turns.count(shape(old))
    # Old up to some step, new from it on; each of them was seen after a kill.
    assert turns == [shape(old)] * n_old + [shape(new)] * (len(turns) - n_old)
    assert 0 < n_old < len(turns) - 1
    for (_, directory), stages in zip(ended, found, strict=True):
        for staged_one in stages.models:
            directory.content(staged_one)
    # What was killed early is done by the same command again.
    again = run_bank("models", words[0], "--state", ended[n_old - 1][1].path.parent, *words[1:])
    assert again.code == 0, again.err
    assert shape(ended[n_old - 1][1].read()) == shape(new)
