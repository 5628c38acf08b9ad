"""``aggregator runs create-search``: open a run in which all banks choose parameters together."""

from typing import Any, Final

import click

from aggregator.commands.creating.contract_options import (
    contract_options,
    say_tables,
    wanted_contract,
)
from aggregator.commands.creating.run_options import (
    active_epoch,
    described,
    given_fields,
    open_run,
    run_options,
    show_run_or_spec,
    visibility_option,
)
from aggregator.commands.creating.search_options import described_search, search_options
from aggregator.commands.options import CLIENT_OPTIONS, client_options, opened_client
from aggregator.commands.output import RunOrSpec
from fraudfed.console import answers, examples, say
from fraudfed.wire.messages import DataContract, ModelVisibility, RunKind

_OPTIONS: Final = "options"
#: What ``search_options`` adds.
_SEARCH_OPTIONS: Final = (
    "plan",
    "candidates_path",
    "assignments",
    "rungs",
    "select_by",
    "patience",
)


@click.command(
    name="create-search",
    epilog=examples(
        "export AGGREGATOR_TOKEN_FILE=DIR/operator.token",
        "aggregator runs create-search --train-until 2026-04-30 --select-until 2026-06-15 \\",
        "    --judge-until 2026-07-31 --shared-risk latest --plan quick",
        "aggregator runs create-search --contract contract.json --candidates candidates.toml \\",
        "    --rungs 20:6,50:2,100:1 --param subsample=0.8 --dry-run",
    ),
)
@client_options
@contract_options
@search_options
@visibility_option
@run_options
@answers(RunOrSpec, show_run_or_spec)
def create_search_run(
    visibility: str,
    name: str | None,
    key_epoch: int | None,
    dry_run: bool,
    **options: Any,
) -> RunOrSpec:
    """Open a search for parameters, and print its id.

    Candidates of a plan, or of your own file, grow side by side at all banks; the weak are dropped
    early, and the result is the choice with its model. A select window is needed to compare them:
    --select-until, or a contract that has one.
    """
    connection = {key: options.pop(key) for key in CLIENT_OPTIONS}
    tried = {key: options.pop(key) for key in _SEARCH_OPTIONS}
    wanted = wanted_contract(options)
    common = {
        "key_epoch": 1,
        "kind": RunKind.SEARCH,
        "model_visibility": ModelVisibility(visibility),
        **given_fields(options),
    }

    def fields(contract: DataContract) -> dict[str, Any]:
        # Which features can only rise depends on those that there are.
        found = described_search(contract, **tried)
        return {
            **common,
            "name": f"{found.title} {wanted.title}" if name is None else name,
            "contract": contract,
            "parameters": found.common,
            "search": found.spec,
        }

    described(fields(wanted.draft), source=_OPTIONS)
    with opened_client(**connection) as client:
        epoch = active_epoch(client, key_epoch, source="--key-epoch")
        contract, chosen = wanted.complete(client, epoch)
        common["key_epoch"] = epoch.key_epoch.epoch
        spec = described(fields(contract), source=_OPTIONS)
        answer = open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)
    if chosen is not None:
        say_tables(chosen, contract)
    if spec.search is not None:
        rungs = ",".join(f"{rung.trees}:{rung.alive}" for rung in spec.search.rungs)
        say(
            f"{spec.name}: {len(spec.search.candidates)} candidates (rungs {rungs}), "
            f"{len(contract.features)} features, key epoch {spec.key_epoch} with "
            f"{len(epoch.key_epoch.roster)} banks",
            err=True,
        )
    return answer
