"""What these commands have in common: the log, the history, and times."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.deciding.answers import HeardLabel
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory

if TYPE_CHECKING:
    from bank_node.decisions.log import DecisionLog
    from bank_node.outcomes.history import LabelHistory
    from bank_node.outcomes.label import Heard

TIME = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
#: Beyond every time of a decision.
END = 1 << 40


def opened(path: Path, passphrase_file: Path | None) -> StateDirectory:
    """Return a state directory that can open its vault."""
    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    return state


def log_of(state: StateDirectory) -> "DecisionLog":
    """Open the log of decisions beside a service that adds to it."""
    from bank_node.decisions.log import DecisionLog

    return DecisionLog(state.serving_path / "decisions", state.vault, read_only=True)


def history_of(state: StateDirectory) -> "LabelHistory":
    """Open the history of labels."""
    from bank_node.outcomes.history import LabelHistory

    return LabelHistory(state.serving_path / "outcomes", state.vault)


def seconds(time: datetime | None) -> int | None:
    """Return UTC epoch seconds of a time that was typed without a zone."""
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp())


def time_text(time: int) -> str:
    """Return a time, UTC epoch seconds, as people read it."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def heard_label(heard: "Heard") -> HeardLabel:
    """Return one thing heard of a payment, for an answer."""
    return HeardLabel(
        time=heard.time,
        status=heard.status.value,
        source=heard.source.value,
        fraud_kind=heard.fraud_kind,
        never_revised=heard.never_revised,
    )


def heard_text(heard: HeardLabel) -> str:
    """Return one thing heard of a payment as a line."""
    kind = "" if heard.fraud_kind is None else f" ({heard.fraud_kind})"
    final = ", never revised" if heard.never_revised else ""
    return f"{time_text(heard.time)}  {heard.status}{kind}, by {heard.source}{final}"
