"""``bank-node runs share``: let a bank that was not there adopt a finished run."""

from pathlib import Path

import click

from bank_node.commands.options import PATH, answers, passphrase_option, state_option
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import Answer, examples, say


class SharedRun(Answer):
    """``runs share``.

    Attributes
    ----------
    run_id, newcomer : str
    model_sha256 : str
        Of the result that this bank vouches for.
    tables : tuple of str
        Runs of the risk tables that go with it.
    statistics : str or None
        Statistics run that goes with it.
    out : str or None
        File for the newcomer.
    bytes : int
        What leaves this bank.
    """

    run_id: str
    newcomer: str
    model_sha256: str
    tables: tuple[str, ...]
    statistics: str | None
    out: str | None
    bytes: int


def _show(shared: SharedRun) -> None:
    tables = f", {len(shared.tables)} risk tables" if shared.tables else ""
    statistics = "" if shared.statistics is None else f", statistics of run {shared.statistics}"
    say(
        f"run {shared.run_id}: shared with {shared.newcomer}: model "
        f"{shared.model_sha256[:16]}{tables}{statistics}; {shared.bytes:,} bytes"
    )
    if shared.out is not None:
        say(
            f"{shared.out}: hand it to {shared.newcomer}, which alone can open it: 'bank-node "
            f"adopt {shared.run_id} --from {Path(shared.out).name}'"
        )


@click.command(
    "share",
    epilog=examples("bank-node runs share RUN_ID --state bank-a --with bank-d --out for-d.share"),
)
@click.argument("run_id")
@state_option
@click.option(
    "--with", "newcomer", required=True, metavar="BANK", help="Confirmed member that adopts it."
)
@click.option("--out", type=PATH, required=True, help="File to write, sealed to that bank.")
@click.option(
    "--statistics",
    "statistics_run",
    default=None,
    metavar="RUN",
    help="Statistics to hold that bank's data against.  [default: the latest over the features of "
    "the run]",
)
@click.option(
    "--signature-only",
    is_flag=True,
    help="Consent, but leave model and tables to the share of another bank.",
)
@passphrase_option
@answers(SharedRun, _show)
def share(
    run_id: str,
    path: Path,
    newcomer: str,
    out: Path,
    statistics_run: str | None,
    signature_only: bool,
    passphrase_file: Path | None,
) -> SharedRun:
    """Consent that BANK, which was not in the run, adopts it; needs no network."""
    from bank_node.adoption.sharing import note_share, share_run
    from fraudfed.durable_file import write_atomic

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    with state.locked():
        identity = state.identity()
        sealed = share_run(state, identity, run_id, newcomer, statistics_run=statistics_run)
        if signature_only:
            sealed = sealed.without_box()
        data = sealed.to_bytes()
        note_share(state, identity, sealed, data)
        write_atomic(out, data)
    said = sealed.share
    return SharedRun(
        run_id=run_id,
        newcomer=newcomer,
        model_sha256=said.model.plain_sha256,
        tables=tuple(each.run_id for each in said.tables),
        statistics=None if said.statistics is None else said.statistics.run_id,
        out=str(out),
        bytes=len(data),
    )
