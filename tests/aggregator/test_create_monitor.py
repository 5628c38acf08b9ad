"""``aggregator runs create-monitor`` takes contract and model from the run that made the model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import aggregator.commands.creating.monitor as module
from aggregator.cli import cli
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.errors import RunDescriptionError
from fraudfed.wire.messages import (
    DataContract,
    KeyEpochState,
    RunCreated,
    RunKind,
    RunSpec,
    RunState,
)

_ROSTER = tuple(SimpleNamespace(name=name) for name in "abc")
CONTRACT = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=contract_features(),
    train_until=1_767_225_600,
)
SHA256 = "ab" * 32


class Client:
    """Stands for the operator's: knows one run."""

    def __init__(self) -> None:
        self.specs: list[RunSpec] = []
        self.kind, self.state = RunKind.TRAINING, RunState.FINISHED

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show_run(self, run_id: str) -> Any:
        assert run_id == "r0"
        spec = SimpleNamespace(kind=self.kind, contract=CONTRACT)
        return SimpleNamespace(spec=spec, state=self.state, model_sha256=SHA256)

    def key_epoch(self, epoch: int | None) -> Any:
        key = SimpleNamespace(n="ff" * 384)
        return SimpleNamespace(
            key_epoch=SimpleNamespace(
                epoch=epoch or 7,
                roster=_ROSTER,
                public_key=key,
            ),
            state=KeyEpochState.ACTIVE,
        )

    def create_run(self, spec: RunSpec) -> RunCreated:
        self.specs.append(spec)
        return RunCreated(run_id="r1")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    monkeypatch.setattr(module, "opened_client", lambda **_: made)
    return made


def run(tmp_path: Path, *options: str) -> Result:
    token = tmp_path / "token"
    token.write_text("secret")
    command = ("runs", "create-monitor", "--token-file", str(token), "--model-run", "r0")
    return CliRunner().invoke(cli, (*command, *options))


def test_contract_model_and_reference_are_those_of_the_models_run(
    client: Client, tmp_path: Path
) -> None:
    ended = run(tmp_path, "--until", "2026-06-29", "--alert-score", "0.2")
    assert (ended.exit_code, ended.output) == (0, "r1\n")
    (spec,) = client.specs
    assert (spec.kind, spec.contract, spec.key_epoch) == ("monitor", CONTRACT, 7)
    assert (spec.name, spec.model_visibility) == ("monitor until 2026-06-29", "members")
    monitor = spec.monitor
    assert monitor is not None
    # date -ud 2026-06-29 +%s
    assert (monitor.until, monitor.reference_until) == (1_782_691_200, CONTRACT.train_until)
    assert (monitor.model_run, monitor.model_sha256) == ("r0", SHA256)
    assert (monitor.alert_score, monitor.reference_weeks, monitor.min_count) == (0.2, 12, 10)


def test_a_cut_off_within_the_week_is_left_out_and_a_day_of_ones_own_is_taken(
    client: Client, tmp_path: Path
) -> None:
    run(tmp_path, "--until", "2026-01-04")
    run(tmp_path, "--until", "2026-06-29", "--reference-until", "2026-06-01")
    first, second = (spec.monitor for spec in client.specs)
    assert first is not None
    assert second is not None
    assert (first.reference_until, second.reference_until) == (None, 1_780_272_000)


@pytest.mark.parametrize(
    ("kind", "state", "options", "message"),
    [
        (RunKind.RISK, RunState.FINISHED, (), "expected training or search"),
        (RunKind.TRAINING, RunState.OPEN, (), "expected finished"),
        (RunKind.TRAINING, RunState.FINISHED, ("--min-count", "0"), "min_count"),
        (RunKind.TRAINING, RunState.FINISHED, ("--reference-weeks", "5"), "reference_weeks"),
        (
            RunKind.TRAINING,
            RunState.FINISHED,
            ("--reference-until", "2026-06-28"),
            "at least a week before",
        ),
    ],
)
def test_what_cannot_be_watched_is_refused(
    client: Client,
    tmp_path: Path,
    kind: RunKind,
    state: RunState,
    options: tuple[str, ...],
    message: str,
) -> None:
    client.kind, client.state = kind, state
    ended = run(tmp_path, "--until", "2026-06-29", *options)
    assert isinstance(ended.exception, RunDescriptionError | SystemExit)
    assert message in " ".join(f"{ended.exception} {ended.output}".split())
    assert client.specs == []
