"""``create-training --from-search``: the parameters that a search chose, on everything known.

The refit is a model of its own. What was measured of the search's winner says nothing of it, and no
payments are left to judge it by; so its name says that it is a challenger.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from aggregator.commands.creating.contract_options import read_file
from aggregator.commands.creating.window_options import option_of
from aggregator.operator.client import OperatorClient
from fraudfed.console import say
from fraudfed.errors import (
    ConfigurationError,
    NotFoundError,
    ParameterError,
    RunDescriptionError,
    StateError,
)
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, ModelVisibility, RunKind, RunState
from fraudfed.wire.search_results import decode

#: What a search measures by; a training that stops for nothing has no use for it.
_METRIC: Final = "eval_metric"


class Chosen(NamedTuple):
    """What a search chose: its winner's name, the parameters, and the name of the refit."""

    winner: str
    parameters: dict[str, Any]
    title: str


def is_file_of_search(text: str) -> bool:
    """Tell whether ``--from-search`` names a file; a run's id has neither suffix nor folder."""
    return text.endswith(".json") or "/" in text or Path(text).is_file()


def refuse_own_parameters(preset: str | None, assignments: tuple[str, ...]) -> None:
    """Refuse parameters beside those of a search; raises ConfigurationError."""
    for option, given in (("--preset", preset is not None), ("--param", bool(assignments))):
        if given:
            raise ConfigurationError(
                f"{option} and --from-search exclude each other: other parameters are not those "
                "that the search chose; leave one of them out"
            )


def refuse_own_contract(options: Mapping[str, Any]) -> None:
    """Refuse options of a contract beside a run's; raises ConfigurationError."""
    named = [name for name, value in options.items() if value not in (None, ())]
    if named:
        option = "--contract" if named[0] == "contract_path" else option_of(named[0])
        raise ConfigurationError(
            f"{option} and --from-search RUN_ID exclude each other: the search's contract says it; "
            "take a bank's search.json instead of the run to give another contract"
        )


def chosen_by_run(client: OperatorClient, run_id: str) -> tuple[Chosen, DataContract]:
    """Return what a finished search chose, and its contract with everything known to train on.

    Raises
    ------
    ConfigurationError
        If there is no such search, it is not finished, or its result is sealed to the members.
    """
    where = f"--from-search {run_id}"
    try:
        status = client.show_run(run_id)
    except (NotFoundError, ConfigurationError) as error:
        raise ConfigurationError(f"{where}: {error}") from None
    spec = status.spec
    if spec.kind is not RunKind.SEARCH or spec.contract is None:
        raise ConfigurationError(f"{where}: is of kind {spec.kind}, expected a search")
    if status.state is not RunState.FINISHED:
        raise ConfigurationError(
            f"{where}: is {status.state.value}, expected a finished search ('aggregator runs show')"
        )
    if spec.model_visibility is ModelVisibility.MEMBERS:
        raise ConfigurationError(
            f"{where}: its result is sealed to the members; ask a bank for runs/{run_id}/"
            "search.json, and give that file with the windows and features of the training"
        )
    try:
        found, _ = decode(client.model(run_id), source=f"run {run_id}")
    except StateError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    chosen = _chosen(found, source=f"run {run_id}")
    return chosen, refit_contract(spec.contract)


def chosen_in_file(path: Path) -> Chosen:
    """Return what a bank's ``search.json`` says was chosen.

    Raises
    ------
    ConfigurationError
        If the file cannot be read.
    RunDescriptionError
        If it is no result of a search.
    """
    return _chosen(read_file(path, "search"), source=str(path))


def refit_contract(contract: DataContract) -> DataContract:
    """Return a contract that trains up to the last cut-off, and neither selects nor judges."""
    if contract.last_cutoff is None:
        return contract
    windows = {"train_until": contract.last_cutoff, "select_until": None, "judge_until": None}
    return contract.model_copy(update=windows)


def say_refit(chosen: Chosen) -> None:
    """Say, beside the answer, what the training is."""
    say(
        f"a refit with the parameters of {chosen.winner!r}: another model than the search's, that "
        "nobody has judged; a challenger, to be compared in shadow before it decides",
        err=True,
    )


def _chosen(text: bytes, *, source: str) -> Chosen:
    try:
        choice = json.loads(text)["choice"]
        winner, given = choice["name"], choice["parameters"]
        parameters = BoosterParams.parse(given).to_mapping()
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        what = f" ({error})" if isinstance(error, ParameterError) else ""
        raise RunDescriptionError(
            f"{source}: is no result of a search{what}, expected search.json with its choice; take "
            "another copy of it"
        ) from None
    defaults = BoosterParams().to_mapping()
    # A bank's rules need no entry for what is as by default.
    own = {n: v for n, v in parameters.items() if v != defaults[n] and n != _METRIC}
    return Chosen(str(winner), own, f"refit of {winner} (challenger, not judged)")
