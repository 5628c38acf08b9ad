"""What one process of an aggregator tells the others: that it has changed a run."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Announcement:
    """A committed change of a run."""

    origin: str
    """Names the process that made it."""
    run_id: str
    version: int
    """Of the run, by the change."""
    wakes: bool
    """Whether a request may wait for it."""

    def to_text(self) -> str:
        """Return what is sent."""
        return f"{self.origin} {self.run_id} {self.version} {int(self.wakes)}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what was sent, None for what is no announcement: anybody may write there."""
        match text.split(" "):
            case [origin, run_id, version, "0" | "1" as wakes] if version.isdecimal():
                return cls(origin, run_id, int(version), wakes == "1")
        return None
