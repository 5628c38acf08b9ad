"""Which payments models were judged by at this bank, and when.

A judge window says what a model is worth as long as nothing was chosen by it. Every use is kept in
the directory of its run, so that a later one can say that it is not the first.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fraudfed.durable_file import write_atomic
from fraudfed.errors import StateError

JUDGE_USES_FILE = "judged.json"


class JudgeUse(BaseModel):
    """One use of a judge window.

    Attributes
    ----------
    run_id : str
    at : int
        UTC epoch seconds.
    first_event, last_event : int or None
        Event times of the payments, UTC epoch seconds; None for tables without times.
    rows : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    at: Annotated[int, Field(ge=0)]
    first_event: int | None
    last_event: int | None
    rows: Annotated[int, Field(ge=0)]

    def overlaps(self, other: "JudgeUse") -> bool:
        """Tell whether two uses were of the same payments, in part at least."""
        if self.run_id == other.run_id:
            return True
        times = (self.first_event, self.last_event, other.first_event, other.last_event)
        if None in times:
            # Shares of a table belong to the seed of a run.
            return False
        first, last, other_first, other_last = (int(time or 0) for time in times)
        return first <= other_last and other_first <= last


class _Uses(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    uses: tuple[JudgeUse, ...] = ()


class JudgeUses:
    """The uses of all runs of a bank.

    Parameters
    ----------
    runs : Path
        The directory of runs.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    def earlier(self, use: JudgeUse) -> tuple[JudgeUse, ...]:
        """Return the uses of payments of the same window, by time.

        Raises
        ------
        StateError
            If a file of them cannot be read.
        """
        held = [
            each for path in self._runs.glob(f"*/{JUDGE_USES_FILE}") for each in _read(path).uses
        ]
        return tuple(sorted((each for each in held if each.overlaps(use)), key=lambda e: e.at))

    def add(self, use: JudgeUse) -> None:
        """Keep a use; raises StateError if it cannot be kept. One process of a run at a time."""
        path = self._runs / use.run_id / JUDGE_USES_FILE
        uses = _Uses(uses=(*_read(path).uses, use))
        try:
            write_atomic(path, uses.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise StateError(
                f"{path}: cannot be written ({error.strerror or error}); check owner, mode and room"
            ) from error


def _read(path: Path) -> _Uses:
    try:
        return _Uses.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Uses()
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValidationError:
        raise StateError(
            f"{path}: is no list of judged windows; restore it from a backup"
        ) from None
