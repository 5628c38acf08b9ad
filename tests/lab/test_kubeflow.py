"""The pipeline is compiled, in order, and its steps are commands that there are."""

from pathlib import Path

import pytest
import yaml

from bank_node.cli import cli
from fraudfed.console import commands_of
from fraudfed.lab.kubeflow import PARAMETERS, STEPS, compile_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_pipeline_calls_our_commands_in_order(tmp_path: Path) -> None:
    out = tmp_path / "pipeline.yaml"
    compile_pipeline("registry.example/fraudfed:1", out)
    found = yaml.safe_load(out.read_text())
    assert set(found["root"]["inputDefinitions"]["parameters"]) == set(PARAMETERS)
    tasks, executors = found["root"]["dag"]["tasks"], found["deploymentSpec"]["executors"]
    assert list(tasks) == sorted(STEPS)
    for before, after in zip(list(STEPS)[:-1], list(STEPS)[1:], strict=True):
        assert tasks[after]["dependentTasks"] == [before]
    for name, words in STEPS.items():
        container = executors[f"exec-{name}"]["container"]
        assert container["image"] == "registry.example/fraudfed:1"
        assert container["command"] == ["bank-node"]
        shown = [f"{{{{$.inputs.parameters['{p}']}}}}" for p in PARAMETERS]
        values = dict(zip((f"{{{p}}}" for p in PARAMETERS), shown, strict=True))
        assert container["args"] == [values.get(word, word) for word in words]


def test_each_step_is_a_command_with_these_options() -> None:
    commands = commands_of(cli)
    for words in STEPS.values():
        depth = 2 if words[0] == "models" else 1
        command = commands[" ".join(words[:depth])]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
