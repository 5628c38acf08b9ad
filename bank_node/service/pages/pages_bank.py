"""The bank whose pages these are: its state directory, as it is at the moment."""

from dataclasses import dataclass, field
from pathlib import Path

from bank_node.state.directory import StateDirectory


@dataclass(frozen=True)
class PagesBank:
    """Where every page gets its facts.

    Attributes
    ----------
    path : Path
        The state directory.
    passphrase : str or None
        What opens it; None if nothing has to be opened.
    """

    path: Path
    passphrase: str | None = field(repr=False)

    def state(self) -> StateDirectory:
        """Return the state directory, read anew: other programs change it."""
        state = StateDirectory(self.path)
        state.unlock(self.passphrase)
        return state
