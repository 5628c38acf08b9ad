"""Every label of a sum that any program uses is declared; one that is not fails here."""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from fraudfed.errors import ConfigurationError
from fraudfed.privacy import declared
from fraudfed.privacy.declared import SUMS, TOLD, Under, kind_of, require_exact, require_noised

ROOT = Path(__file__).parents[2]
#: Where labels are made or passed on. In other modules a keyword ``label`` is of a chart or column.
SOURCES = [
    path
    for program in ("fraudfed", "bank_node")
    for path in sorted((ROOT / program).rglob("*.py"))
    if "ommunicator" in path.read_text() or "SumRequest" in path.read_text()
]
#: What a call of this name with a keyword ``label`` sums.
SUMMING = {"sum", "noised_sum", "SumRequest", "NoisedRequest"}


class UnreadableLabelError(Exception):
    """A sum whose label the scan cannot follow."""


def text_of(node: ast.expr) -> str | None:
    """Return the fixed text that a label begins with; None if it begins with something else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text
        case ast.BinOp(left=left, op=ast.Add()):
            return text_of(left)
    return None


def is_passed_on(node: ast.expr) -> bool:
    """Tell whether a label comes from elsewhere: a name, an attribute, or one with an addition."""
    match node:
        case ast.Name(id="label") | ast.Attribute(attr="label"):
            return True
        case ast.JoinedStr(values=[ast.FormattedValue(value=inner), *_]):
            return is_passed_on(inner)
    return False


def labels_in(source: str) -> Iterator[str]:
    """Yield what each label begins with: of calls, and of names that are summed under.

    A parameter is followed to the calls that set it, as every keyword ``label`` is looked at.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for value in _labels_of(node):
                text = text_of(value)
                if text is not None:
                    yield text
                elif is_summing(node) and not is_passed_on(value):
                    raise UnreadableLabelError(ast.unparse(node))
        elif isinstance(node, ast.FunctionDef) and _sums_under_a_name(node):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Assign) and "label" in _names_set(inner):
                    text = text_of(inner.value)
                    if text is None:
                        raise UnreadableLabelError(ast.unparse(inner))
                    yield text


def is_summing(call: ast.Call) -> bool:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else None
    return (call.func.id if isinstance(call.func, ast.Name) else called) in SUMMING


def _labels_of(call: ast.Call) -> list[ast.expr]:
    return [keyword.value for keyword in call.keywords if keyword.arg == "label"]


def _names_set(node: ast.Assign) -> set[str]:
    return {one.id for one in node.targets if isinstance(one, ast.Name)}


def _sums_under_a_name(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(value, ast.Name)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and is_summing(node)
        for value in _labels_of(node)
    )


def undeclared(source: str, kinds: Collection[str] = tuple(SUMS)) -> list[str]:
    return [label for label in labels_in(source) if kind_of(label) not in kinds]


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_every_label_in_the_source_is_declared(path: Path) -> None:
    assert undeclared(path.read_text()) == []


def test_the_scan_sees_the_labels_that_there_are() -> None:
    found = {kind_of(label) for path in SOURCES for label in labels_in(path.read_text())}
    exact = {kind for kind, each in SUMS.items() if each.under is not Under.NOISED}
    assert exact <= found | {"bench"}


@pytest.mark.parametrize(
    "source",
    [
        'communicator.sum(x, bound=1, label="more")',
        'communicator.sum(x, bound=1, label=f"more:{number}")',
        'communicator.noised_sum(x, bound=1, release=r, label="more:" + name)',
        'yield_(SumRequest(values=x, bound=1, label="more"))',
        'def f():\n    label = f"more:{number}"\n    communicator.sum(x, label=label)',
        'helper(x, label="more")',
    ],
)
def test_control_a_label_that_is_not_declared_is_found(source: str) -> None:
    assert undeclared(source) in (["more"], ["more:"])
    assert undeclared(source.replace("more", "cuts")) == []


@pytest.mark.parametrize(
    "source",
    [
        'communicator.sum(x, bound=1, label=f"{kind}:1")',
        "communicator.noised_sum(x, label=name)",
        "def f():\n    label = name.upper()\n    communicator.sum(x, label=label)",
    ],
)
def test_control_a_label_that_cannot_be_read_is_found(source: str) -> None:
    with pytest.raises(UnreadableLabelError):
        list(labels_in(source))


def test_control_without_a_declaration_the_programs_fail() -> None:
    source = (ROOT / "fraudfed" / "boosting" / "metrics.py").read_text()
    assert undeclared(source, set(SUMS) - {"metric"}) == ["metric:"]


@pytest.mark.parametrize("kind", SUMS)
def test_only_what_is_declared_is_summed_under_privacy_terms(kind: str) -> None:
    one = SUMS[kind]
    assert one.because
    for label in (kind, f"{kind}:tree 3 step 0"):
        if one.under is Under.NOISED:
            require_noised(label)
        else:
            with pytest.raises(ConfigurationError, match="not declared as a sum that does"):
                require_noised(label)
        if one.under is not Under.FREE:
            with pytest.raises(ConfigurationError, match="would be exact"):
                require_exact(label)


def test_a_label_that_is_not_declared_is_refused_either_way() -> None:
    with pytest.raises(ConfigurationError, match="is not declared, and the run has privacy terms"):
        require_exact("more:1")
    with pytest.raises(ConfigurationError, match="not declared as a sum that does"):
        require_noised("more:1")


def test_a_free_sum_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    free = declared.Declared(Under.FREE, "it holds no row")
    monkeypatch.setattr(declared, "SUMS", {**SUMS, "clock": free})
    require_exact("clock:1")
    with pytest.raises(ConfigurationError, match="not declared as a sum that does"):
        require_noised("clock:1")


def test_no_sum_is_exact_today_and_no_sum_is_outside() -> None:
    assert {each.under for each in SUMS.values()} == {Under.NOISED, Under.REFUSED}


def test_what_is_told_beside_sums_has_a_reason() -> None:
    assert all(each.because for each in TOLD.values())
    assert {each.under for each in TOLD.values()} == set(Under) - {Under.NOISED}
