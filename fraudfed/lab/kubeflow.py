"""``fraudfed pipeline``: a bank's steps from data to a model in charge, for Kubeflow Pipelines.

Each component is one command of ``bank-node`` in a container: the pipeline adds order, and nothing
else. A command that ends with another code than 0 ends the pipeline.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fraudfed.console import Answer, answers, examples, say
from fraudfed.errors import ConfigurationError, StateError

#: Steps in order, each with the words of its command; the names in braces are parameters.
STEPS: dict[str, tuple[str, ...]] = {
    "check-data": ("check-data", "--state", "{state}", "--data", "{data}", "--run", "{run_id}"),
    "train": ("train", "--state", "{state}", "--data", "{data}", "--run", "{run_id}"),
    "evaluate": ("evaluate", "--state", "{state}", "--data", "{data}", "--run", "{run_id}"),
    "promote": ("models", "promote", "--state", "{state}", "{run_id}", "--by", "pipeline"),
}
PARAMETERS = ("state", "data", "run_id")


class CompiledPipeline(Answer):
    """``pipeline``.

    Attributes
    ----------
    out : str
    image : str
    steps : tuple of str
        In order.
    parameters : tuple of str
    """

    out: str
    image: str
    steps: tuple[str, ...]
    parameters: tuple[str, ...]


def _show(found: CompiledPipeline) -> None:
    say(f"{found.out}: {' -> '.join(found.steps)}; parameters {', '.join(found.parameters)}")


@click.command(
    epilog=examples("fraudfed pipeline --image registry.example/fraudfed:1 --out pipeline.yaml")
)
@click.option("--image", required=True, help="Container image with bank-node in it.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, .yaml.",
)
@answers(CompiledPipeline, _show)
def pipeline_command(image: str, out: Path) -> CompiledPipeline:
    """Write a Kubeflow pipeline whose steps are a bank's commands, from data to promotion."""
    if out.suffix != ".yaml":
        raise ConfigurationError(f"--out {out}: expected a name that ends with .yaml")
    if not image.strip():
        raise ConfigurationError("--image: is empty, expected the name of a container image")
    compile_pipeline(image, out)
    return CompiledPipeline(out=str(out), image=image, steps=tuple(STEPS), parameters=PARAMETERS)


def compile_pipeline(image: str, out: Path) -> None:
    """Write the pipeline.

    Raises
    ------
    ConfigurationError
        If Kubeflow's compiler is not installed.
    StateError
        If the file cannot be written.
    """
    try:
        from kfp import compiler, dsl
    except ImportError as error:
        raise ConfigurationError(
            f"Kubeflow's compiler is not installed here ({error}); install fraudfed[kfp]"
        ) from None
    components = {name: _component(dsl, name, words, image) for name, words in STEPS.items()}

    def bank_pipeline(state: str, data: str, run_id: str) -> None:
        last = None
        for name, component in components.items():
            task = component(state=state, data=data, run_id=run_id)
            task.set_display_name(name)
            # A step reads what the one before has written: none is taken from a cache.
            task.set_caching_options(enable_caching=False)
            if last is not None:
                task.after(last)
            last = task

    try:
        compiler.Compiler().compile(
            dsl.pipeline(name="fraudfed-bank")(bank_pipeline), package_path=str(out)
        )
    except OSError as error:
        raise StateError(f"{out}: cannot be written ({error.strerror or error})") from error


def _component(dsl: Any, name: str, words: tuple[str, ...], image: str) -> Callable[..., Any]:
    def step(state: str, data: str, run_id: str) -> Any:
        values = {"{state}": state, "{data}": data, "{run_id}": run_id}
        arguments = [values.get(word, word) for word in words]
        return dsl.ContainerSpec(image=image, command=["bank-node"], args=arguments)

    step.__name__ = name.replace("-", "_")
    step.__annotations__["return"] = dsl.ContainerSpec
    component: Callable[..., Any] = dsl.container_component(step)
    return component
