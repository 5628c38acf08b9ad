"""Reports that a bank keeps: what its own commands found last, for the documents about a model."""

from bank_node.state.directory import StateDirectory
from fraudfed.console import Answer, say
from fraudfed.durable_file import PRIVATE_DIRECTORY, write_atomic
from fraudfed.errors import StateError

#: Below ``serving/`` of the state directory.
OUTCOMES_REPORT = "outcomes.json"


def keep_report(state: StateDirectory, name: str, report: Answer) -> None:
    """Keep a report; where that is not possible it is still printed, with a warning."""
    directory = state.serving_path
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        write_atomic(directory / name, report.model_dump_json(indent=1).encode() + b"\n")
    except (OSError, StateError) as error:
        say(f"warning: {directory / name}: the report is not kept ({error})", err=True)
