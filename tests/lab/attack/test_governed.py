"""Governance documents state the figures of attacks, each with its place in a record."""

import json

import pytest
from pydantic import TypeAdapter

from fraudfed.lab.attack.binomial import share_of
from fraudfed.lab.attack.differencing.result import DifferencingFigures, Errors
from fraudfed.lab.attack.membership.result import KindFigures, MembershipFigures, Ranking, RateAt
from fraudfed.lab.attack.reconstruction.result import (
    AttributeFigures,
    CaseFigures,
    ReconstructionFigures,
)
from fraudfed.lab.governance.documents import _environment, _facts
from fraudfed.lab.governance.figures import FigureBook
from fraudfed.lab.governance.records import RUN_FILES, Records

RANKING = Ranking(0.625, 0.5, 0.75, (RateAt(0.01, share_of(3, 100)),))
FOUND = {
    "membership": MembershipFigures(
        "small",
        42,
        1000,
        16,
        "default",
        None,
        None,
        (KindFigures("rare", 100, 90, 8, RANKING, RANKING, RANKING),),
    ),
    "reconstruction": ReconstructionFigures(
        "small",
        42,
        1000,
        600,
        3,
        "frauds",
        (
            CaseFigures(
                "all",
                "default",
                6,
                2196,
                share_of(0, 0),
                (AttributeFigures("amount", share_of(90, 100), 0.25, 0.3, 0.2),),
            ),
        ),
    ),
    "differencing": DifferencingFigures(
        "small", 42, 1000, 200, 5, 30.0, 1.4, Errors(0.0, 8.125, 42.5, 5.0, 9.0, 100, 1.0), ()
    ),
}


def records_with(found: dict[str, object]) -> Records:
    documents = {"run.json": {}, "record.json": {}}
    for name, figures in found.items():
        text = TypeAdapter(type(figures)).dump_json(figures)
        documents[f"attacks/{name}.json"] = json.loads(text)
    return Records("run-1", documents, dict.fromkeys(documents, "0" * 64))


def test_figures_of_attacks_stand_in_the_document_with_their_source() -> None:
    text, book = rendered(records_with(FOUND))
    for stated in ("0.625", "0.030", "2,196", "amount", "8.125", "42.500"):
        assert stated in text
    for name in FOUND:
        assert f"attacks/{name}.json" in {figure.file for figure in book.figures}
        assert f"no figures in attacks/{name}.json" not in text
        assert f"attacks/{name}.json" in RUN_FILES


def rendered(records: Records) -> tuple[str, FigureBook]:
    book = FigureBook(records)
    template = _environment().get_template("data-protection.md")
    return template.render(f=book.figure, open=book.open, **_facts(records)), book


@pytest.mark.parametrize("name", sorted(FOUND))
def test_an_attack_that_was_not_tried_is_an_open_point(name: str) -> None:
    others = {other: figures for other, figures in FOUND.items() if other != name}
    text, _ = rendered(records_with(others))
    assert f"no figures in attacks/{name}.json" in text
