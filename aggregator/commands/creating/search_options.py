"""What a search tries, as an operator says it: a named plan, or a file of parameter sets."""

import codecs
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from aggregator.commands.options import FILE
from fraudfed.catalogue.plans import PLANS, find_plan
from fraudfed.errors import ConfigurationError, RunDescriptionError
from fraudfed.parameters import overridden, parse_assignments, same_parameter
from fraudfed.wire.messages import DataContract, SearchSpec, SelectBy, parse

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_PLAN: Final = "standard"
_MOST_FILE_BYTES: Final = 1 << 20
#: What a set of parameters may say beside parameters.
_NAME, _SHARE = "name", "min_child_share"
#: Without ``--rungs``: to so many trees each grows, and this part of the candidates is alive then.
_HALVING: Final = ((20, 1.0), (50, 3 / 8), (100, 3 / 16), (200, 0.0))
_RUNG = re.compile(r"([1-9][0-9]{0,5}):([1-9][0-9]{0,2})")


class Search(NamedTuple):
    """What is tried: the description, what all candidates share, and its name in words."""

    spec: SearchSpec
    common: dict[str, Any]
    title: str


def search_options(command: F) -> F:
    """Add the options of what is tried; hand what they take to :func:`described_search`."""
    for option in (
        click.option(
            "--patience",
            type=click.IntRange(0, 100_000),
            help="Trees without a better metric after which the last candidate stops; 0: it never "
            "does.  [default: the plan's, or 20]",
        ),
        click.option(
            "--select-by",
            type=click.Choice([item.value for item in SelectBy]),
            help="Compare by the mean of the banks' own metrics, or over all rows as one table."
            f"  [default: {SelectBy.MEAN_OF_BANKS.value}]",
        ),
        click.option(
            "--rungs",
            metavar="TREES:ALIVE,...",
            help="To how many trees candidates are grown, and how many are alive: 20:16,50:6,100:3,"
            "200:1.  [default: the plan's]",
        ),
        click.option(
            "--param",
            "assignments",
            multiple=True,
            metavar="NAME=VALUE",
            help="A training parameter that all candidates share, under XGBoost's name; "
            "repeatable.",
        ),
        click.option(
            "--candidates",
            "candidates_path",
            type=FILE,
            metavar="FILE",
            help="Your own parameter sets, JSON or TOML, instead of a plan's.",
        ),
        click.option(
            "--plan",
            type=click.Choice(list(PLANS)),
            help="Parameter sets by name; docs/search.md explains them.  "
            f"[default: {DEFAULT_PLAN}]",
        ),
    ):
        command = option(command)
    return command


def described_search(
    contract: DataContract,
    *,
    plan: str | None,
    candidates_path: Path | None,
    assignments: tuple[str, ...],
    rungs: str | None,
    select_by: str | None,
    patience: int | None,
) -> Search:
    """Return what is tried on the features of a contract.

    Raises
    ------
    ConfigurationError
        If options contradict each other, a file cannot be read, or a shared parameter would be that
        of no candidate.
    RunDescriptionError
        If candidates or rungs cannot be.
    """
    if plan is not None and candidates_path is not None:
        raise ConfigurationError("--plan and --candidates exclude each other; give one of them")
    given = parse_assignments(assignments, option="--param")
    if candidates_path is None:
        found = find_plan(DEFAULT_PLAN if plan is None else plan)
        fields = found.spec_for(contract).model_dump()
        common, title = overridden(found.common, given), f"search {found.name}"
    else:
        candidates = read_candidates(candidates_path)
        fields = {"candidates": candidates, "rungs": _halving(len(candidates))}
        common, title = given, f"search {candidates_path.stem}"
    if rungs is not None:
        fields["rungs"] = _read_rungs(rungs)
    if select_by is not None:
        fields["select_by"] = select_by
    if patience is not None:
        fields["patience"] = patience or None
    source = "options" if candidates_path is None else str(candidates_path)
    spec = parse(SearchSpec, fields, source=source, refusal=RunDescriptionError)
    for name in given:
        if all(_has(one.parameters, name, one.min_child_share) for one in spec.candidates):
            raise ConfigurationError(
                f"--param {name}: every candidate has a value of its own, so it would change "
                "nothing; leave it out, or give your own --candidates"
            )
    return Search(spec, common, title)


def _has(parameters: Mapping[str, Any], name: str, share: float | None) -> bool:
    if share is not None and name == "min_child_weight":
        return True
    return any(same_parameter(name, own) for own in parameters)


def read_candidates(path: Path) -> list[dict[str, Any]]:
    """Read sets of parameters: a list of tables, in TOML under ``candidates``.

    Each table holds parameters under XGBoost's names, and may have a ``name`` and a
    ``min_child_share``.

    Raises
    ------
    ConfigurationError
        If the file cannot be read.
    RunDescriptionError
        If it holds no such list.
    """
    document = _read_document(path)
    if isinstance(document, dict) and set(document) == {"candidates"}:
        document = document["candidates"]
    if not isinstance(document, list) or not all(isinstance(each, dict) for each in document):
        raise RunDescriptionError(
            f"{path}: holds no list of parameter sets, expected "
            '[{"name": "deep", "max_depth": 8}, ...] (JSON) or [[candidates]] tables (TOML)'
        )
    found = []
    for number, each in enumerate(document, 1):
        if isinstance(each.get("parameters"), dict):
            raise RunDescriptionError(
                f"{path}: candidate {number} has 'parameters', expected these beside its name: "
                '{"name": "deep", "max_depth": 8}'
            )
        found.append(
            {
                "name": each.get(_NAME, f"candidate-{number}"),
                "parameters": {k: v for k, v in each.items() if k not in (_NAME, _SHARE)},
                _SHARE: each.get(_SHARE),
            }
        )
    return found


def _read_document(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"candidates {path} cannot be read: {error.strerror}",
            what_to_do="give a JSON or TOML file",
        ) from None
    if len(data) > _MOST_FILE_BYTES:
        raise RunDescriptionError(f"{path}: is larger than 1 MiB, expected a list of candidates")
    is_toml = path.suffix.lower() == ".toml"
    try:
        # Editors may have put a byte order mark in front.
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
        return tomllib.loads(text) if is_toml else json.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if is_toml else "JSON"
        raise RunDescriptionError(
            f"{path}: not readable as {kind} ({error}); expected {kind}, by the file's suffix"
        ) from None


def _halving(n: int) -> list[dict[str, int]]:
    """Return rungs that narrow as those of the plans do, to one candidate."""
    by_alive: dict[int, int] = {}
    for trees, part in _HALVING:
        alive = max(-(-n * part // 1), 1)
        # As many alive as in the rung before: it is one rung.
        by_alive[int(alive)] = trees
    return [{"trees": trees, "alive": alive} for alive, trees in by_alive.items()]


def _read_rungs(text: str) -> list[dict[str, int]]:
    rungs = []
    for part in text.split(","):
        found = _RUNG.fullmatch(part.strip())
        if found is None:
            raise ConfigurationError(
                f"--rungs {text!r}: {part!r} is no rung, expected TREES:ALIVE, as in "
                "20:16,50:6,100:3,200:1"
            )
        rungs.append({"trees": int(found[1]), "alive": int(found[2])})
    return rungs
