"""The contract that lists what may be imported: kept, broken by more, broken by less."""

import pytest
from grimp import ImportGraph
from import_contracts import AllowListContract

GRAPH = {
    "service": ["service.app"],
    "service.app": ["house.public.documents", "house.errors"],
    "house.public.documents": ["house.paillier"],
    "house.secret": [],
    "house.errors": [],
    "house.paillier": [],
}


def check(allowed: list[str], **more: list[str]) -> dict[str, list[str]]:
    """Return the modules that are not allowed, and the names that nothing needs."""
    graph = ImportGraph()
    for module in (*GRAPH, "house", "house.public"):
        graph.add_module(module)
    for importer, imported in (GRAPH | more).items():
        for module in imported:
            graph.add_import(importer=importer, imported=module)
    options = {"source": "service", "of": "house", "allowed": allowed}
    contract = AllowListContract(name="x", session_options={}, contract_options=options)
    found = contract.check(graph, verbose=False)
    names = {"unlisted": list(found.metadata["chains"]), "unused": found.metadata["unused"]}
    assert found.kept == (not any(names.values()))
    return names


ALL = ["house.public.*", "house.errors", "house.paillier"]


def test_what_is_listed_is_kept() -> None:
    assert check(ALL) == {"unlisted": [], "unused": []}


@pytest.mark.parametrize("importer", ["service.app", "house.errors"])
def test_a_module_that_is_not_listed_is_found_however_it_is_reached(importer: str) -> None:
    imports = {importer: [*GRAPH[importer], "house.secret"]}
    assert check(ALL, **imports)["unlisted"] == ["house.secret"]


def test_what_is_reached_through_others_must_be_listed() -> None:
    assert check(ALL[:2])["unlisted"] == ["house.paillier"]


def test_a_name_that_nothing_needs_comes_off_the_list() -> None:
    assert check([*ALL, "house.secret"])["unused"] == ["house.secret"]


def test_what_is_below_a_package_is_not_the_package_and_no_namesake() -> None:
    imports = {"service.app": [*GRAPH["service.app"], "house.publicity"]}
    assert check(ALL, **imports)["unlisted"] == ["house.publicity"]
