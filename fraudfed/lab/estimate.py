"""``fraudfed estimate``: what a run will cost, before it is opened."""

from pathlib import Path

import click
from pydantic import JsonValue

from fraudfed.catalogue.estimate.estimate import Estimate, duration, estimate_run
from fraudfed.catalogue.estimate.setting import KERNELS, Setting
from fraudfed.catalogue.run_check import check_run
from fraudfed.console import Answer, answers, examples, say
from fraudfed.errors import RunDescriptionError
from fraudfed.lab.bench.options import FiniteRange, key_bits_option, number_option
from fraudfed.wire.messages import RunSpec, parse

_MEGA = 1e6
_MEBI = 2**20


class EstimateAnswer(Answer):
    """``estimate``: for one bank of the cohort, and the aggregator.

    Attributes
    ----------
    kind : str
    rounds, ciphertexts : int
        Secure sums, and what a bank encrypts in all of them.
    bytes_sent, bytes_received : int
        By one bank.
    minutes : float
        From the complete cohort to the result.
    bank_memory_bytes, aggregator_memory_bytes : int
        Peaks, of the largest bank.
    setting : dict
        What was assumed.
    """

    kind: str
    rounds: int
    ciphertexts: int
    bytes_sent: int
    bytes_received: int
    minutes: float
    bank_memory_bytes: int
    aggregator_memory_bytes: int
    setting: dict[str, JsonValue]


def _show(found: EstimateAnswer) -> None:
    at = found.setting
    link = f"{at['rtt_ms']:g} ms and {at['mbit']:g} Mbit/s"
    machines = "on one machine" if at["one_machine"] else f"a machine each, {link}"
    say(
        f"{found.kind} of {at['banks']} banks with {at['rows']:,} rows, "
        f"{100 * float(str(at['fraud_share'])):g} % fraud; {machines}, {at['cores']} cores, "
        f"{at['key_bits']}-bit key, {at['kernel']}",
        f"  rounds              {found.rounds:,}",
        f"  ciphertexts         {found.ciphertexts:,} from each bank",
        f"  bytes               {found.bytes_sent / _MEGA:,.1f} MB sent, "
        f"{found.bytes_received / _MEGA:,.1f} MB received by each bank",
        f"  time                {duration(found.minutes)}",
        f"  memory              {found.bank_memory_bytes / _MEBI:,.0f} MiB at the largest bank, "
        f"{found.aggregator_memory_bytes / _MEBI:,.0f} MiB at the aggregator",
        "An estimate, within a factor of 1.5 on what it was fitted to; banks that come late or "
        "drop out are not in it.",
    )


@click.command(
    epilog=examples(
        "aggregator runs create-training ... --dry-run > run.json",
        "fraudfed estimate run.json --banks 5 --rows 20000000 --fraud-share 0.001",
        "fraudfed estimate run.json --rtt 40 --mbit 50 --json",
    )
)
@click.argument("run", type=click.Path(path_type=Path))
@number_option("--banks", 5, "Banks of the cohort.", most=1000)
@number_option(
    "--rows", 1_000_000, "Rows to train on, of all banks; in a risk run payments of a day."
)
@click.option(
    "--fraud-share",
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.005,
    show_default=True,
    help="Share of frauds among the rows.",
)
@click.option(
    "--largest-share",
    type=FiniteRange(0.0, 1.0, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of the largest bank in the rows.",
)
@number_option("--cores", 2, "Cores of each machine.", most=4096)
@click.option("--one-machine", is_flag=True, help="All programs share one machine, as in a trial.")
@click.option(
    "--kernel",
    type=click.Choice(KERNELS),
    default=KERNELS[0],
    show_default=True,
    help="Of the banks' processors: with AVX-512 IFMA, with BMI2 and ADX, or any other.",
)
@click.option(
    "--rtt",
    type=FiniteRange(0.0, 60_000.0),
    default=10.0,
    show_default=True,
    help="Round trip between bank and aggregator, ms.",
)
@click.option(
    "--mbit",
    type=FiniteRange(0.001, 1e6),
    default=100.0,
    show_default=True,
    help="Rate of the link in each direction, Mbit/s.",
)
@key_bits_option
@answers(EstimateAnswer, _show)
def estimate_command(
    run: Path,
    banks: int,
    rows: int,
    fraud_share: float,
    largest_share: float,
    cores: int,
    one_machine: bool,
    kernel: str,
    rtt: float,
    mbit: float,
    key_bits: int,
) -> EstimateAnswer:
    """Estimate rounds, ciphertexts, bytes, minutes and memory of the run that RUN describes.

    RUN is what ``aggregator runs create-... --dry-run`` prints, or a file for ``--spec``.
    """
    spec = _described(run)
    setting = Setting(
        banks=banks,
        rows=rows,
        fraud_share=fraud_share,
        largest_share=max(largest_share, 1.0 / banks),
        key_bits=key_bits,
        kernel=kernel,
        cores=cores,
        one_machine=one_machine,
        rtt_ms=rtt,
        mbit=mbit,
    )
    return _answer(estimate_run(spec, setting))


def _described(path: Path) -> RunSpec:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunDescriptionError(
            f"{path}: cannot be read ({error.strerror}); give the description of a run, as "
            "`aggregator runs create-training --dry-run` prints it"
        ) from error
    spec = parse(RunSpec, content, source=str(path), refusal=RunDescriptionError)
    check_run(spec)
    return spec


def _answer(found: Estimate) -> EstimateAnswer:
    fields = {name: value for name, value in vars(found).items() if name != "setting"}
    return EstimateAnswer(**fields, setting=vars(found.setting))
