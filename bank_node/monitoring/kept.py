"""What monitoring last said, kept for the pages: ``serving/monitoring/``, one file a report.

A report holds counts and no customer. That of a model and a week takes the place of an earlier one
about the same; the oldest are removed.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bank_node.monitoring.report import DriftReport
from fraudfed.durable_file import PRIVATE_DIRECTORY, write_atomic
from fraudfed.errors import StateError

#: A year of weeks, once of this bank and once of all together.
MOST_KEPT = 104
_DIRECTORY = "monitoring"


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    made_at: int
    report: DriftReport


@dataclass(frozen=True)
class KeptReport:
    """A report as it was made.

    Attributes
    ----------
    name : str
        Of its file, without its ending.
    made_at : int
        UTC epoch seconds.
    report : DriftReport
    """

    name: str
    made_at: int
    report: DriftReport


def keep_report(serving: Path, report: DriftReport) -> None:
    """Keep a report.

    Parameters
    ----------
    serving : Path
        ``serving`` of the state directory; made when it is missing.
    report : DriftReport

    Raises
    ------
    StateError
        If it cannot be written.
    """
    directory = serving / _DIRECTORY
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        content = _Content(made_at=int(time.time()), report=report)
        name = f"{report.until[:10]}-{report.run_id}"
        write_atomic(directory / f"{name}.json", content.model_dump_json(indent=1).encode() + b"\n")
        for path in _files(directory)[MOST_KEPT:]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(
            f"{directory}: the report cannot be kept ({error.strerror or error}); check owner, "
            "mode and room"
        ) from error


def kept_reports(serving: Path) -> tuple[KeptReport, ...]:
    """Return all reports, that of the latest week first.

    Raises
    ------
    StateError
        If a file cannot be read or is no report.
    """
    found = []
    for path in _files(serving / _DIRECTORY):
        try:
            content = _Content.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValidationError) as error:
            first = str(error).splitlines()[0]
            raise StateError(
                f"{path}: is no report of monitoring ({first}); remove it and make it again with "
                "'bank-node monitor'"
            ) from None
        found.append(KeptReport(path.stem, content.made_at, content.report))
    return tuple(sorted(found, key=lambda one: (one.report.until, one.made_at), reverse=True))


def _files(directory: Path) -> list[Path]:
    # Their names begin with the week.
    return sorted(directory.glob("*.json"), reverse=True)
