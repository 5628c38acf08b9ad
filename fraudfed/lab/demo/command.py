"""``fraudfed demo``: options in, table and files out."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from pydantic import JsonValue
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.presets import PRESETS, find_preset
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.console import (
    Answer,
    end_with,
    examples,
    json_option,
    print_json,
    say,
    stderr_console,
    stdout_console,
)
from fraudfed.errors import CohortError, ConfigurationError, StateError
from fraudfed.features.mappings.mapping import Mapping, load_mapping
from fraudfed.foreign_text import visible
from fraudfed.lab.bench.options import key_bits_option
from fraudfed.lab.demo.data import MIN_BANKS, DemoData, schema_of
from fraudfed.lab.demo.feature_table import Shares, open_table
from fraudfed.lab.demo.generated import open_generated
from fraudfed.lab.demo.job import DemoResult, Stages, run_job
from fraudfed.lab.demo.looking import how_to_look, keep_until_stopped, served_model
from fraudfed.lab.demo.plan import DEMO, NONE, PLAN_NAMES, Fitting, plan_named
from fraudfed.lab.demo.transactions import open_payments
from fraudfed.lab.local_federation.processes import run_program
from fraudfed.lab.oracle.same_trees import installed_rules
from fraudfed.lab.report.compare import DemoSummary, difference_lines, format_table
from fraudfed.lab.report.mules import format_mules
from fraudfed.lab.report.page import render_report
from fraudfed.lab.report.privacy_curve import read_curve
from fraudfed.machine.threads import usable_cores
from fraudfed.parameters import BoosterParams, overridden, parse_assignments
from fraudfed.reading.problems import ProblemsError
from fraudfed.reading.report import ProblemReport, report_lines, report_of

#: Our mark in an output directory: only a directory with it is ever cleared.
_MARK = ".fraudfed-demo"
#: Banks that rows are dealt out to unless told otherwise.
_BANKS = 5
#: Whose payments are judged, and the recipe that judges them.
_VIEWS = {"outbound": RECIPE, "inbound": INBOUND_RECIPE}
#: Until a receiving bank is told of a fraud, on average, in worlds that the demo generates.
_INCOMING_DELAY_DAYS = 2
#: Preset that the fixed set of parameters is unless told otherwise.
_FIXED = "fraud"
_FILES = ("summary.json", "report.html", "model.json")


class DemoAnswer(Answer):
    """``demo``: the files that it wrote, and the contents of ``summary.json``."""

    summary_file: str
    report_file: str
    model_file: str
    summary: dict[str, JsonValue]


@click.command(
    epilog=examples(
        "fraudfed demo                                       # five generated banks",
        "fraudfed demo --preset retail --plan quick",
        "fraudfed demo --trees 50 --eta 0.2                   # one fixed set, no search",
        "fraudfed demo --parameters parity                   # stock XGBoost's parameters",
        "fraudfed demo --preset aml-mules --view inbound     # what arrives at the banks",
        "fraudfed demo --transactions payments.csv --map paysim --banks 4",
        "fraudfed demo --table rows.parquet --label fraud --drop 'id,\"distance, km\"'",
        "fraudfed demo --table Base.csv --map baf",
    )
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder that `data-gen generate` has written, instead of generating one.",
)
@click.option(
    "--preset",
    default="small",
    show_default=True,
    help="World to generate where no data are given; `data-gen presets` lists them.",
)
@click.option(
    "--view",
    type=click.Choice(list(_VIEWS)),
    default="outbound",
    show_default=True,
    help="Which payments: those that a bank's customers make, or those that arrive at it.",
)
@click.option(
    "--transactions",
    type=click.Path(path_type=Path),
    help="Any file of raw transactions (.parquet or .csv), split over the banks by customer.",
)
@click.option(
    "--map",
    "mapping",
    metavar="NAME|FILE",
    help="With --transactions or --table: a built-in mapping, as sparkov or baf, or a TOML file.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="Any feature table (.parquet or .csv), split over the banks.",
)
@click.option(
    "--label", help="With --table: the column of 0 (clean) and 1 (fraud).  [default: the mapping's]"
)
@click.option(
    "--drop",
    multiple=True,
    metavar="COL,...",
    help="With --table: columns to leave out; a name with a comma in quotes; repeatable.",
)
@click.option(
    "--bank-column",
    help="With --table or --transactions: the column that says whose row it is.",
)
@click.option(
    "--banks",
    type=int,
    help=f"Number of banks (not with --data).  [default: the preset's, {_BANKS} for other rows]",
)
@click.option(
    "--label-horizon-days",
    type=click.IntRange(1, 3650),
    help="A payment is fraud if it is reported within so many days.  [default: from the data]",
)
@click.option(
    "--plan",
    type=click.Choice(PLAN_NAMES),
    help="Search that chooses every model's parameters; none: one fixed set.  "
    f"[default: {DEMO}, or none with one of the options below]",
)
@click.option(
    "--parameters",
    "fixed",
    type=click.Choice(list(PRESETS)),
    help=f"Fixed set, instead of a search; `parity` is stock XGBoost.  [default: {_FIXED}]",
)
@click.option("--trees", type=int, help="Trees of the fixed set.")
@click.option("--max-depth", type=int, help="Its depth of a tree.")
@click.option("--max-bin", type=int, help="Its bins per feature.")
@click.option("--eta", type=float, help="Its learning rate.")
@click.option(
    "--param",
    "extra",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other parameter of the fixed set, under XGBoost's name; repeatable.",
)
@key_bits_option
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=42,
    show_default=True,
    help="Of data and random split.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Aggregator's port; 0: a free one."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("fraudfed-demo"),
    show_default=True,
    help="Directory for summary.json, report.html, model.json and work/.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="At the end leave the aggregator, one bank's pages and its scoring service up until "
    "Ctrl-C.",
)
@click.option(
    "--privacy-curve",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="curve.json of `fraudfed privacy curve`, to show in the report.",
)
@click.option("--quiet", is_flag=True, help="Print the table only.")
@json_option(DemoAnswer)
def demo_command(
    data: Path | None,
    preset: str,
    view: str,
    transactions: Path | None,
    mapping: str | None,
    table: Path | None,
    label: str | None,
    drop: tuple[str, ...],
    bank_column: str | None,
    banks: int | None,
    label_horizon_days: int | None,
    plan: str | None,
    fixed: str | None,
    trees: int | None,
    max_depth: int | None,
    max_bin: int | None,
    eta: float | None,
    extra: tuple[str, ...],
    key_bits: int,
    seed: int,
    port: int,
    out: Path,
    keep: bool,
    privacy_curve: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the main job on this machine: banks train one model over an encrypted sum.

    Starts an aggregator and one process per bank on loopback, shares counts of fraud at terminals,
    merchants and payees, and searches and trains over HTTP with Paillier-encrypted sums. Shows what
    each bank gained against its own models and against one on the pooled rows, all chosen by the
    same plan on the same windows of time, and judged on payments later than those.
    """
    source = _Source(
        data=data,
        preset=preset,
        view=view,
        transactions=transactions,
        mapping=None if mapping is None else load_mapping(mapping),
        table=table,
        label=label,
        drop=drop,
        bank_column=bank_column,
        banks=banks,
        seed=seed,
        horizon_days=label_horizon_days,
    )
    source.check()
    fitting = _fitting(plan, fixed, trees, max_depth, max_bin, eta, extra)
    if data is None and bank_column is None and banks is not None and banks < MIN_BANKS:
        raise CohortError(
            f"--banks {banks}: expected at least {MIN_BANKS}; with fewer, the sum minus a bank's "
            "own part is another bank's statistic"
        )
    curve = None if privacy_curve is None else read_curve(privacy_curve)
    work = _prepare(out)
    console = stderr_console(quiet=quiet, own_text=True)
    stages = Stages(lambda text: console.print(f"[dim]{text}[/dim]"))
    try:
        opened = source.open(_shares(fitting), work=work, stages=stages)
    except ProblemsError as error:
        found = report_of(error)
        if as_json:
            end_with(error, ProblemReport, found)
        say(*report_lines(found), err=True)
        raise
    # Before the banks start: they would all refuse the run, one after the other.
    _check_parameters(fitting, opened)
    _forget_results(out)
    console.print(
        f"{opened.rows:,} rows, {len(opened.banks)} banks, {len(opened.contract.features)} features"
    )
    for note in opened.notes:
        console.print(f"note: {escape(visible(note))}", soft_wrap=True)
    with _bar(console, total=_most_trees(fitting, opened)) as advance:
        result = run_job(
            opened,
            fitting=fitting,
            key_bits=key_bits,
            port=port,
            threads=usable_cores(),
            work=work,
            stages=stages,
            on_progress=advance,
        )
    _write(result, out, curve)
    if as_json:
        summary, report, model = (str(out / name) for name in _FILES)
        answer = DemoAnswer(
            summary_file=summary,
            report_file=report,
            model_file=model,
            # As it is read from the file: what the dataclasses hold as tuples are lists there.
            summary=json.loads((out / _FILES[0]).read_bytes()),
        )
        print_json(DemoAnswer, answer)
    else:
        _print(result, out, stdout_console(own_text=True))
    bank = result.summary.banks[0].name
    if keep:
        served = served_model(opened, result.run_id, work)
        keep_until_stopped(work, bank=bank, report=out / "report.html", served=served)
    elif not as_json:
        for line in how_to_look(work, bank=bank, report=out / "report.html"):
            say(line)


def _fitting(
    plan: str | None,
    fixed: str | None,
    trees: int | None,
    max_depth: int | None,
    max_bin: int | None,
    eta: float | None,
    extra: tuple[str, ...],
) -> Fitting:
    """Return how every model is fitted.

    Raises
    ------
    ConfigurationError
        If a search and a fixed set are asked for at once, or a parameter is not allowed.
    """
    options = {"--trees": trees, "--max-depth": max_depth, "--max-bin": max_bin, "--eta": eta}
    given = [name for name, value in options.items() if value is not None]
    given += ["--param"] * bool(extra) + ["--parameters"] * (fixed is not None)
    name = plan or (NONE if given else DEMO)
    found = plan_named(name)
    # So that the trees can be compared with those of the XGBoost that is here.
    rules = {"xgboost_version": installed_rules()}
    if found is not None:
        if given:
            raise ConfigurationError(
                f"--plan {name} searches for parameters, {given[0]} sets one; leave one of them "
                "out, or say --plan none"
            )
        return Fitting({**found.common, **rules}, found)
    names = ("num_boost_round", "max_depth", "max_bin", "eta")
    numbers = {n: v for n, v in zip(names, options.values(), strict=True) if v is not None}
    parameters = overridden(rules, find_preset(fixed or _FIXED).parameters)
    parameters = overridden(parameters, numbers)
    parameters = overridden(parameters, parse_assignments(extra, option="--param"))
    BoosterParams.parse(parameters)
    return Fitting(parameters)


def _shares(fitting: Fitting) -> Shares:
    """Return how rows without times are divided: as the banks' nodes divide them."""
    if fitting.plan is not None:
        return Shares(searches=True)
    params = BoosterParams.parse(fitting.parameters)
    return Shares(seed=params.seed, selects=params.early_stopping_rounds is not None)


def _check_parameters(fitting: Fitting, data: DemoData) -> None:
    if fitting.plan is None:
        params = BoosterParams.parse(fitting.parameters)
        params.resolve_monotone_constraints(schema_of(data.contract))


def _most_trees(fitting: Fitting, data: DemoData) -> int:
    """Return how many trees the federation grows; of those that grow at once, one counts."""
    if fitting.plan is None:
        one = BoosterParams.parse(fitting.parameters).num_boost_round
    else:
        one = fitting.plan.spec.rungs[-1].trees
    return one if data.risk is None else 2 * one


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What the options say of the rows."""

    data: Path | None
    preset: str
    view: str
    transactions: Path | None
    mapping: Mapping | None
    table: Path | None
    label: str | None
    drop: tuple[str, ...]
    bank_column: str | None
    banks: int | None
    seed: int
    horizon_days: int | None

    @property
    def table_label(self) -> str | None:
        """The label of a plain table: what is given, else what the mapping says."""
        if self.label is not None or self.mapping is None:
            return self.label
        return self.mapping.label

    def check(self) -> None:
        """Raise ConfigurationError where options contradict each other."""
        given = {
            "--data": self.data,
            "--transactions": self.transactions,
            "--table": self.table,
        }
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise ConfigurationError(f"{' and '.join(named)} exclude each other; give one of them")
        if self.table is not None and self.horizon_days is not None:
            raise ConfigurationError(
                "--label-horizon-days is for payments, rows of --table have no times; leave one of "
                "them out"
            )
        if self.table is not None and self.view == "inbound":
            raise ConfigurationError(
                "--view inbound is for payments, --table holds features; leave one of them out"
            )
        if self.table is None and (self.label is not None or self.drop):
            raise ConfigurationError("--label and --drop belong to --table FILE")
        if self.transactions is None and self.table is None and self.mapping is not None:
            raise ConfigurationError("--map belongs to --transactions or --table FILE")
        if self.mapping is not None:
            self._check_mapping(self.mapping)
        if self.table is not None and self.table_label is None:
            raise ConfigurationError(
                "--table needs --label COL, the column of 0 and 1, or a --map that names it"
            )
        if self.table is None and self.transactions is None and self.bank_column is not None:
            raise ConfigurationError("--bank-column belongs to --table or --transactions FILE")

    def _check_mapping(self, mapping: Mapping) -> None:
        if mapping.kind == "transactions" and self.table is not None:
            raise ConfigurationError(
                "--map: is for transactions, expected a mapping of a table of features; give the "
                "file with --transactions"
            )
        if mapping.kind == "table" and self.transactions is not None:
            raise ConfigurationError(
                "--map: is for a table of features, expected one of transactions; give the file "
                "with --table"
            )
        if mapping.kind == "transactions" and not mapping.has_labels:
            raise ConfigurationError(
                "--map: has no is_fraud and label_time, expected both, as the demo trains; to look "
                "at data without labels, use `bank-node check-data`"
            )

    def open(self, shares: Shares, *, work: Path, stages: Stages) -> DemoData:
        """Split or generate the rows, and return them."""
        label = self.table_label
        if self.table is not None and label is not None:
            with stages.stage("split", f"splitting {self.table} over the banks"):
                return open_table(
                    self.table,
                    mapping=self.mapping,
                    label=label,
                    drop=self.drop,
                    bank_column=self.bank_column,
                    n_banks=self.banks or _BANKS,
                    work=work / "data",
                    seed=self.seed,
                    shares=shares,
                )
        if self.transactions is not None:
            with stages.stage("split", f"splitting {self.transactions} over the banks"):
                return open_payments(
                    self.transactions,
                    mapping=self.mapping,
                    bank_column=self.bank_column,
                    n_banks=self.banks or _BANKS,
                    work=work / "data",
                    seed=self.seed,
                    recipe=_VIEWS[self.view],
                    horizon_days=self.horizon_days,
                )
        inbound = self.view == "inbound"
        opened = partial(
            open_generated,
            work=work / "data",
            inbound=inbound,
            shares=shares,
            horizon_days=self.horizon_days,
        )
        if self.data is not None:
            return opened(self.data)
        made = work / "world"
        with stages.stage("generate", f"generating the data of preset {self.preset}"):
            banks = () if self.banks is None else ("--banks", str(self.banks))
            arrivals = ("--set", f"incoming_delay_days={_INCOMING_DELAY_DAYS}") if inbound else ()
            run_program(
                [
                    *("data-gen", "generate", "--quiet", "--out", str(made)),
                    *("--preset", self.preset, "--seed", str(self.seed), *banks, *arrivals),
                ],
                log=work / "logs" / "data-gen.log",
            )
        return opened(made)


def _forget_results(out: Path) -> None:
    """Delete what an earlier demo found, now that this one can begin."""
    for name in _FILES:
        (out / name).unlink(missing_ok=True)


def _prepare(out: Path) -> Path:
    """Make the output directory, or clear the work of an earlier demo, and return that of ours.

    What the earlier one found stays until this one has read its rows.
    """
    try:
        if out.exists() and any(out.iterdir()) and not (out / _MARK).exists():
            raise StateError(
                f"--out {out}: is not empty and was not written by a demo; name a new directory"
            )
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARK).touch()
        work = out / "work"
        if work.exists():
            shutil.rmtree(work)
        (work / "logs").mkdir(parents=True)
    except OSError as error:
        raise StateError(
            f"--out {out}: cannot be written ({error.strerror}); name a directory you may write to"
        ) from error
    return work


@contextmanager
def _bar(console: Console, *, total: int) -> Iterator["_Advance"]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=console.quiet or not console.is_terminal,
        transient=True,
    )
    with progress:
        yield _Advance(progress, total)


class _Advance:
    """Callable that moves the bar to a number of trees; the bar appears with the first call."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._started = False

    def __call__(self, trees: int) -> None:
        if not self._started:
            self._task = self._progress.add_task("trees", total=self._total)
            self._started = True
        self._progress.update(self._task, completed=trees)


def _write(result: DemoResult, out: Path, curve: dict[str, Any] | None) -> None:
    summary = json.dumps(result.summary.to_json(), indent=2, allow_nan=False) + "\n"
    report = render_report(
        result.summary, scores=result.scores, labels=result.labels, privacy_curve=curve
    )
    (out / "model.json").write_bytes(result.model_json)
    (out / "summary.json").write_text(summary)
    (out / "report.html").write_text(report)


def _print(result: DemoResult, out: Path, console: Console) -> None:
    summary = result.summary
    console.print(format_table(summary))
    if summary.mules is not None:
        console.print(format_mules(summary.mules, summary.models))
    if (risk := summary.shared_risk) is not None:
        console.print(
            f"shared risk of {risk.days} days in {risk.seconds:.0f} s: {risk.rounds} rounds, "
            f"{risk.ciphertexts:,} ciphertexts, {risk.bytes_sent / 1e6:.1f} MB sent by the banks",
            soft_wrap=True,
        )
    for line in (*difference_lines(summary), *_cost_lines(summary)):
        console.print(line, soft_wrap=True)
    console.print(f"wrote {', '.join(str(out / name) for name in _FILES)}", soft_wrap=True)


def _cost_lines(summary: DemoSummary) -> Iterator[str]:
    """Say how parameters were chosen, what it cost, and what it was checked against."""
    searched = summary.search
    choice = summary.chosen[summary.best_shared]
    if searched is not None:
        yield (
            f"{choice.candidate}, {summary.trees} trees, chosen from {searched.candidates} "
            f"candidates of plan {searched.plan}. {searched.note}"
        )
    stage = "search" if searched is not None else "train"
    if searched is None and summary.shared_risk is not None:
        stage = "train with risk"
    what = f"{summary.trees} trees" if searched is None else "the search"
    yield (
        f"{what} in {summary.stage_seconds[stage]:.0f} s with {summary.key_bits}-bit keys: "
        f"{summary.rounds} rounds, {summary.ciphertexts:,} ciphertexts, "
        f"{summary.bytes_sent / 1e6:.1f} MB sent by the banks"
    )
    yield summary.verification
