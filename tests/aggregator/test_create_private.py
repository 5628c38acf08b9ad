"""Opening a training with privacy terms: options, refusals, and what is said before."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from federations.fake_banks import Federation, TestKey
from federations.server_process import ServerProcess, run_command

from aggregator.commands.creating.privacy_options import say_privacy
from aggregator.commands.creating.training import create_training
from aggregator.service.state_directory import StateDirectory
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import PrivacySpec, RunSpec

TRAINING = ("--train-until", "2026-06-30", "--param", "max_depth=2")
BOUND = ("--epsilon", "3", "--declared-rows", "2000000")


@pytest.fixture(scope="module")
def server(key: TestKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Four banks with an active key epoch at a real service, and the operator's environment."""
    state = StateDirectory(tmp_path_factory.mktemp("operator") / "agg")
    state.create()
    with ServerProcess(state.path) as process, pytest.MonkeyPatch.context() as patch:
        federation = process.federation(state.path, key)
        for name in ("alder", "birch", "cedar", "dogwood"):
            federation.register(name)
        federation.make_epoch()
        patch.setenv("AGGREGATOR_URL", process.url)
        patch.setenv("AGGREGATOR_TOKEN_FILE", str(state.operator_token))
        yield federation


def dry_run(*options: str) -> dict[str, Any]:
    found = run_command("runs", "create-training", *TRAINING, *options, "--dry-run")
    assert found.returncode == 0, found.stderr
    spec: dict[str, Any] = json.loads(found.stdout)
    return spec


@pytest.mark.e2e
def test_one_command_opens_a_private_training(server: Federation) -> None:
    created = run_command("runs", "create-training", *TRAINING, *BOUND)
    assert created.returncode == 0, created.stderr
    assert "preset private" in created.stderr
    assert "epsilon 3 at delta 1e-06 for one row, history declared, way cyclic" in created.stderr
    shown = run_command("runs", "show", created.stdout.strip(), "--json")
    privacy = json.loads(shown.stdout)["spec"]["privacy"]
    expected = PrivacySpec(epsilon=3.0, tolerated_colluders=1, declared_rows=2_000_000)
    assert PrivacySpec.model_validate(privacy) == expected


@pytest.mark.e2e
def test_every_term_has_an_option(server: Federation) -> None:
    given = {
        "delta": ("--delta", "1e-7", 1e-7),
        "unit": ("--privacy-unit", "customer", "customer"),
        "history": ("--privacy-history", "declared", "declared"),
        "way": ("--privacy-way", "random-splits", "random-splits"),
        "cuts": ("--privacy-cuts", "noised", "noised"),
        "tolerated_colluders": ("--tolerated-colluders", "0", 0),
        "gradient_cap": ("--gradient-cap", "2.5", 2.5),
        "row_cap": ("--row-cap", "8", 8),
        "features_per_tree": ("--features-per-tree", "3", 3),
        "cuts_share": ("--cuts-share", "0.1", 0.1),
        "counts_share": ("--counts-share", "0.02", 0.02),
        "metric_share": ("--metric-share", "0", 0.0),
    }
    options = [text for option, value, _ in given.values() for text in (option, value)]
    privacy = dry_run(*BOUND, *options)["privacy"]
    for name, (_, _, value) in given.items():
        assert privacy[name] == value, name
    assert set(given) | {"epsilon", "declared_rows", "protocol_version"} == set(privacy)


@pytest.mark.e2e
@pytest.mark.parametrize("history", ["none", "dp-tables"])
def test_a_history_that_the_features_do_not_have_is_refused(
    server: Federation, history: str
) -> None:
    options = (*BOUND, "--privacy-history", history, "--dry-run")
    found = run_command("runs", "create-training", *TRAINING, *options)
    assert found.returncode == 2
    assert f"history is {history}, and" in found.stderr


@pytest.mark.e2e
def test_without_a_bound_there_are_no_terms(server: Federation) -> None:
    assert dry_run()["privacy"] is None


def refused(*options: str) -> Result:
    """Run the command in this process; what is refused needs no aggregator."""
    arguments = ["--url", "http://127.0.0.1:9", *TRAINING, *options]
    return CliRunner().invoke(create_training, arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--delta", "1e-7"), "--delta: goes with --epsilon"),
        (("--row-cap", "3"), "--row-cap: goes with --epsilon"),
        (("--epsilon", "3"), "needs --declared-rows"),
        ((*BOUND, "--epsilon", "0"), "privacy.epsilon"),
        ((*BOUND, "--tolerated-colluders", "2"), "expected at least 4"),
        ((*BOUND, "--param", "subsample=0.5"), "hides nobody"),
        ((*BOUND, "--param", "early_stopping_rounds=5"), "early_stopping_rounds is 5"),
        ((*BOUND, "--counts-share", "0"), "declared or noised, never exact"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("fft_" + "x" * 43)
    token.chmod(0o600)
    found = refused(*options, "--token-file", str(token))
    assert isinstance(found.exception, ConfigurationError)
    assert said in str(found.exception)


def test_what_was_measured_is_said_before_a_run_is_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    privacy = PrivacySpec(epsilon=1.0, tolerated_colluders=1, declared_rows=2_000_000)
    spec = RunSpec.model_validate(
        {
            "name": "r",
            "key_epoch": 1,
            "contract": {"kind": "table", "features": [{"name": "amount"}]},
            "privacy": privacy,
        }
    )
    place = "aggregator.commands.creating.privacy_options.advice"
    asked: list[Any] = []

    def advice(terms: Any, rows: int) -> str:
        asked.append((terms, rows))
        return "nothing beats own at this size"

    monkeypatch.setattr(place, advice)
    say_privacy(spec)
    assert asked == [(privacy.terms(), 2_000_000)]
    assert "warning: nothing beats own at this size" in capsys.readouterr().err
    monkeypatch.setattr(place, lambda terms, rows: None)
    say_privacy(spec)
    assert "warning" not in capsys.readouterr().err
    say_privacy(spec.model_copy(update={"privacy": None}))
    assert capsys.readouterr().err == ""
