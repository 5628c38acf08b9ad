"""An operator opens a statistics run by one command, over the recipe's contract or a file's."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

import aggregator.commands.creating.statistics as module
from aggregator.cli import cli
from fraudfed.catalogue.recipes import contract_features
from fraudfed.wire.messages import DataContract, KeyEpochState, RiskEntity, RunCreated, RunSpec

_ROSTER = tuple(SimpleNamespace(name=name) for name in "abc")
TABLE = DataContract(kind="table", label="y", features=({"name": "x"},))  # type: ignore[arg-type]


class Client:
    """Keeps what it is told to create."""

    def __init__(self) -> None:
        self.specs: list[RunSpec] = []

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def key_epoch(self, number: int | None) -> SimpleNamespace:
        assert number in (None, 7)
        epoch = SimpleNamespace(epoch=7, roster=_ROSTER)
        return SimpleNamespace(key_epoch=epoch, state=KeyEpochState.ACTIVE)

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
    command = ("runs", "create-statistics", "--token-file", str(token), *options)
    return CliRunner().invoke(cli, command)


def test_the_contract_of_the_recipe_is_filled_in(client: Client, tmp_path: Path) -> None:
    options = ("--train-until", "2026-06-30", "--label-horizon-days", "60")
    ended = run(tmp_path, *options, "--min-count", "20")
    assert ended.exit_code == 0, ended.output
    assert ended.output == "r1\n"
    (spec,) = client.specs
    assert spec.contract is not None
    assert spec.statistics is not None
    assert spec.contract.features == contract_features()
    # date -ud 2026-06-30 +%s
    assert (spec.contract.train_until, spec.contract.train_from) == (1_782_777_600, None)
    assert spec.contract.label_horizon_days.days == 60
    assert (spec.key_epoch, spec.model_visibility) == (7, "members")
    assert (spec.statistics.min_count, spec.statistics.entities) == (20, tuple(RiskEntity))


@pytest.mark.parametrize("in_a_run", [False, True])
def test_a_contract_comes_from_a_file_or_out_of_a_runs_description(
    client: Client, tmp_path: Path, in_a_run: bool
) -> None:
    path = tmp_path / "contract.json"
    text = TABLE.model_dump_json()
    if in_a_run:
        text = RunSpec(name="t", key_epoch=3, contract=TABLE).model_dump_json()
    path.write_text(text)
    ended = run(tmp_path, "--contract", str(path), "--entity", "none", "--key-epoch", "7")
    assert ended.exit_code == 0, ended.output
    (spec,) = client.specs
    assert (spec.contract, spec.key_epoch) == (TABLE, 7)
    assert spec.statistics is not None
    assert spec.statistics.entities == ()


def test_a_dry_run_prints_the_description_and_opens_nothing(client: Client, tmp_path: Path) -> None:
    ended = run(tmp_path, "--train-until", "2026-06-30", "--dry-run")
    assert ended.exit_code == 0, ended.output
    spec = RunSpec.model_validate_json(ended.output)
    assert (spec.name, spec.kind) == ("statistics until 2026-06-30", "statistics")
    assert client.specs == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--width", "1000"), "power of two"),
        (("--min-count", "0"), "min_count"),
        (("--entity", "none", "--entity", "payee"), "none and something else"),
        (("--contract", "FILE", "--label-horizon-days", "0"), "exclude each other"),
        (("--contract", "RISK"), "without a data contract"),
        (("--contract", "BROKEN"), "DataContract"),
    ],
)
def test_what_cannot_be_is_refused(
    client: Client, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    risk = {"first_day": 1, "last_day": 2, "delay_days": 1}
    files = {
        "FILE": TABLE.model_dump_json(),
        "RISK": json.dumps(
            {"name": "r", "key_epoch": 1, "kind": "risk", "risk": risk}
            | {"model_visibility": "members"}
        ),
        "BROKEN": "{}",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    ended = run(tmp_path, *(str(tmp_path / o) if o in files else o for o in options))
    assert ended.exit_code != 0
    assert message in f"{ended.output}{ended.exception}"
    assert client.specs == []
