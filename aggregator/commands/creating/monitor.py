"""``aggregator runs create-monitor``: open a run that watches a model's payments by week."""

import datetime
from typing import Any, Final

import click

from aggregator.commands.creating.run_options import (
    active_epoch,
    described,
    given_fields,
    number_option,
    open_run,
    run_options,
    seconds_of,
    show_run_or_spec,
)
from aggregator.commands.options import CLIENT_OPTIONS, client_options, opened_client
from aggregator.commands.output import RunOrSpec
from fraudfed.console import answers, examples
from fraudfed.errors import RunDescriptionError
from fraudfed.wire.messages import ModelVisibility, MonitorSpec, RunKind, RunState

_OPTIONS: Final = "options"
_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])


@click.command(
    name="create-monitor",
    epilog=examples(
        "aggregator runs create-monitor --model-run RUN_ID --until 2026-06-29",
        "aggregator runs create-monitor --model-run RUN_ID --until 2026-06-29 --alert-score 0.2",
    ),
)
@client_options
@click.option(
    "--model-run",
    required=True,
    metavar="RUN_ID",
    help="The finished training or search whose model is watched.",
)
@click.option("--until", type=_DAY, required=True, help="The day after the week to watch.")
@click.option(
    "--reference-until",
    type=_DAY,
    default=None,
    help="Compare with weeks before this day.  [default: the last cut-off of the model's run, or "
    "the week before]",
)
@number_option(MonitorSpec, "reference_weeks", "Weeks to compare with.")
@click.option(
    "--alert-score",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=MonitorSpec.model_fields["alert_score"].default,
    show_default=True,
    help="Payments of this score or more count as alerts.",
)
@number_option(
    MonitorSpec,
    "min_count",
    "A bank enters a smaller count as 0, and others rounded to a multiple of it.",
)
@run_options
@answers(RunOrSpec, show_run_or_spec)
def create_monitor_run(
    model_run: str,
    until: datetime.datetime,
    reference_until: datetime.datetime | None,
    name: str | None,
    key_epoch: int | None,
    dry_run: bool,
    **options: Any,
) -> RunOrSpec:
    """Open a run that counts a model's payments week by week, and print its id.

    Nothing is trained. Each bank then sees what drifts at all banks together.
    """
    connection = {key: options.pop(key) for key in CLIENT_OPTIONS}
    end = seconds_of(until)
    own = given_fields(options)
    with opened_client(**connection) as client:
        watched = client.show_run(model_run)
        if watched.spec.kind not in (RunKind.TRAINING, RunKind.SEARCH):
            raise RunDescriptionError(
                f"--model-run {model_run}: is of kind {watched.spec.kind}, expected training or "
                "search; name a run that ended with a model"
            )
        if watched.state is not RunState.FINISHED or watched.spec.contract is None:
            raise RunDescriptionError(
                f"--model-run {model_run}: is {watched.state}, expected finished; name a run that "
                "ended with a model"
            )
        contract = watched.spec.contract
        cutoff = contract.judge_until or contract.select_until or contract.train_until
        if reference_until is not None:
            cutoff = seconds_of(reference_until)
        elif cutoff is not None and cutoff > end - 7 * 86_400:
            cutoff = None
        epoch = active_epoch(client, key_epoch, source="--key-epoch")
        fields = {
            "name": f"monitor until {until:%Y-%m-%d}" if name is None else name,
            "key_epoch": epoch.key_epoch.epoch,
            "kind": RunKind.MONITOR,
            "contract": contract,
            "model_visibility": ModelVisibility.MEMBERS,
            **own,
            "monitor": {
                "model_run": model_run,
                "model_sha256": watched.model_sha256,
                "until": end,
                "reference_until": cutoff,
                **options,
            },
        }
        spec = described(fields, source=_OPTIONS)
        return open_run(client, spec, epoch, source=_OPTIONS, dry_run=dry_run)
