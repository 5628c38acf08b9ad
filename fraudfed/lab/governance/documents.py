"""The documents themselves: templates, filled from records alone.

Law: the same records give the same bytes.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined

from fraudfed.evaluation.fairness import gaps
from fraudfed.evaluation.score_histogram import Bounded
from fraudfed.lab.governance.figures import Figure, FigureBook, escaped
from fraudfed.lab.governance.records import OUTCOMES_FILE, Records
from fraudfed.lab.report.judged import read_groups

#: Documents and their titles, in the order in which they are read.
TITLES: Final[Mapping[str, str]] = {
    "model-card.md": "Model card",
    "validation-report.md": "Validation report",
    "outcomes-analysis.md": "Outcomes analysis",
    "review-triggers.md": "Triggers for review, and their state",
    "data-protection.md": "Data protection: inputs",
    "obligations.md": "Obligations",
}
#: Every figure of every document, for programs.
FIGURES_FILE: Final = "figures.json"
INDEX_FILE: Final = "index.md"
_KNOWN = "/result/verdict/report/readings/0"


def build(records: Records) -> dict[str, bytes]:
    """Return all files of the folder, by name."""
    environment = _environment()
    facts = _facts(records)
    files: dict[str, bytes] = {}
    books: dict[str, FigureBook] = {}
    for name in TITLES:
        book = books[name] = FigureBook(records)
        template = environment.get_template(name)
        text = template.render(f=book.figure, open=book.open, known=_KNOWN, **facts)
        files[name] = (text.rstrip("\n") + "\n" + _sources(book.figures)).encode()
    index = environment.get_template(INDEX_FILE).render(
        run=escaped(records.run_id),
        documents=[
            (name, title, len(books[name].figures), len(books[name].open_points))
            for name, title in TITLES.items()
        ],
        files=sorted(records.sha256.items()),
    )
    files[INDEX_FILE] = index.encode()
    files[FIGURES_FILE] = _figures_json(records, books)
    return files


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=False,  # noqa: S701  # Markdown; texts of records are escaped by ``figure``
        undefined=StrictUndefined,
        loader=FunctionLoader(_source),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = escaped
    environment.filters["ends"] = _ends
    return environment


def _facts(records: Records) -> dict[str, Any]:
    """Return what templates branch and loop on; what they state goes through ``figure``."""
    report = records.find("record.json", "/result/verdict/report")
    evaluation = records.documents.get("evaluation/evaluation.json")
    groups = () if report is None else read_groups(report.get("groups", []))
    signed = None
    if records.result_sha256 is not None:
        signed = records.result_sha256 == records.find("record.json", "/model_sha256")
    stage = records.documents.get("serving/lifecycle.json")
    limits = [] if evaluation is None else evaluation["limits"]
    broken = sum(not limit["holds"] for limit in limits)
    readings = {} if evaluation is None else evaluation["readings"]
    verdicts = sorted({each["verdict"] for each in readings.values()})
    return {
        "spec": records.find("run.json", "/spec") or {},
        "parameters": sorted(records.find("record.json", "/result/parameters") or {}),
        "winner": records.find("record.json", "/result/winner"),
        "report": report,
        "evaluation": evaluation,
        "gaps": gaps(groups),
        "signed": signed,
        "uses": len(records.find("judged.json", "/uses") or []),
        "limits": f"{broken} of {len(limits)} broken" if limits else "no limit was given",
        "readings": f"verdicts of other readings: {', '.join(verdicts)}"
        if verdicts
        else "no other reading was evaluated",
        "stage": "not recorded" if stage is None else "see serving/lifecycle.json",
        "outcomes": records.documents.get(OUTCOMES_FILE),
        "attacks": {
            name: records.documents.get(f"attacks/{name}.json")
            for name in ("membership", "reconstruction", "differencing")
        },
        **_monitor_of(records),
    }


def _monitor_of(records: Records) -> dict[str, Any]:
    """Return what monitoring found last and its file, and whether that is of another run."""
    found = records.monitoring
    if found is None:
        return {"monitor": None, "other_monitor": False}
    file, document = found
    if document["report"]["run_id"] != records.run_id:
        return {"monitor": None, "other_monitor": True}
    return {"monitor": document["report"], "monitor_file": file, "other_monitor": False}


def _source(name: str) -> str:
    folder = resources.files("fraudfed.lab.governance").joinpath("templates")
    return folder.joinpath(f"{name}.j2").read_text(encoding="utf-8")


def _sources(figures: tuple[Figure, ...]) -> str:
    if not figures:
        return ""
    lines = ["", "## Sources", "", "| | file | place |", "|---|---|---|"]
    lines += [f"| {one.number} | {one.file} | `{one.pointer}` |" for one in figures]
    return "\n".join(lines) + "\n"


def _figures_json(records: Records, books: Mapping[str, FigureBook]) -> bytes:
    document = {
        "version": 1,
        "run_id": records.run_id,
        "files": dict(sorted(records.sha256.items())),
        "documents": {
            name: {
                "figures": [vars(figure) for figure in book.figures],
                "open_points": list(book.open_points),
            }
            for name, book in books.items()
        },
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _ends(value: Bounded | None) -> str:
    if value is None:
        return "not defined"
    return f"{value.estimate:.3f} ({value.low:.3f} to {value.high:.3f})"
