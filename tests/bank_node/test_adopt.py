"""A fourth bank joins when three have finished, and scores on day one: real processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from cli_programs import run_program
from examples.risk import DAYS, DELAY_DAYS, PARAMETERS, START, payments, risk_run
from examples.statistics import statistics_run
from federations.bank_process import Finished, finish, start_bank
from federations.bank_states import Banks, serving

from bank_node.state.audit_log import verify_audit_log
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.features import RECIPE, contract_features
from fraudfed.wire.messages import DataContract, LabelHorizon, RunSpec

pytestmark = pytest.mark.e2e

FEATURES = ("amount", "shared_terminal_count_7d", "shared_terminal_fraud_rate_30d")


def command(*words: str | Path) -> Finished:
    return finish(start_bank(*words))


def contract(tables_sha256: str) -> DataContract:
    return DataContract(
        kind="transactions",
        recipe=RECIPE,
        features=tuple(each for each in contract_features(shared=True) if each.name in FEATURES),
        train_until=START + DAYS * 86_400,
        label_horizon_days=LabelHorizon(days=DELAY_DAYS),
        risk_delay_days=DELAY_DAYS,
        shared_risk=(tables_sha256,),
    )


@dataclass(frozen=True)
class Consortium:
    """Three banks with tables, statistics and a model, and one that joined afterwards."""

    banks: Banks
    files: list[Path]
    runs: dict[str, str]
    newcomer: StateDirectory
    root: Path

    def state(self, bank: int) -> Path:
        return self.banks.state(self.banks.names[bank])

    def where(self, bank: int) -> tuple[str, Path, str, Path]:
        return ("--state", self.state(bank), "--data", self.files[bank])

    def everybody(self, *words: str) -> None:
        started = [start_bank("--quiet", *words, *self.where(bank)) for bank in range(3)]
        ended = [finish(process) for process in started]
        assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]


@pytest.fixture(scope="module")
def consortium(
    tmp_path_factory: pytest.TempPathFactory, key_package: KeyPackage
) -> Iterator[Consortium]:
    root = tmp_path_factory.mktemp("adopt")
    with serving(root, root) as aggregator:
        banks = Banks(root, aggregator, key_package)
        files = [root / f"{seed}.parquet" for seed in range(4)]
        for seed, path in enumerate(files):
            payments(seed).to_parquet(path)
        epoch = banks.key_epoch.epoch
        runs = {"tables": aggregator.create_run(risk_run(epoch))}
        made = Consortium(banks, files, runs, StateDirectory(banks.state(banks.names[0])), root)
        made.everybody("risk", "update")
        tables = aggregator.status(runs["tables"]).model_sha256
        assert tables is not None
        terms = contract(tables)
        runs["statistics"] = aggregator.create_run(statistics_run(epoch, contract=terms))
        made.everybody("statistics")
        runs["model"] = aggregator.create_run(
            RunSpec(name="cards", key_epoch=epoch, parameters=PARAMETERS, contract=terms)
        )
        made.everybody("train")
        name = "new" + banks.names[0][1:]
        newcomer = aggregator.enrol(root / "newcomer", name)
        for state in (*(made.state(bank) for bank in range(3)), newcomer.path):
            run_program("bank-node", "roster", "--state", state, "--json").answer(
                "bank-node roster"
            )
        yield Consortium(banks, files, runs, newcomer, root)


def test_a_fourth_bank_scores_as_the_others_do(consortium: Consortium, tmp_path: Path) -> None:
    run_id, name = consortium.runs["model"], consortium.newcomer.config.name
    files = [tmp_path / f"{bank}.share" for bank in range(3)]
    given = [word for file in files for word in ("--from", file)]
    own = ("--state", consortium.newcomer.path, "--data", consortium.files[3])
    for bank, file in enumerate(files):
        more = ("--signature-only",) if bank else ()
        shared = run_program(
            *("bank-node", "runs", "share", run_id, "--state", consortium.state(bank)),
            *("--with", name, "--out", file, *more, "--json"),
        ).answer("bank-node runs share")
        assert shared["tables"] == [consortium.runs["tables"]]
        assert shared["statistics"] == consortium.runs["statistics"]
    missing = run_program("bank-node", "adopt", run_id, *own, *given[:4], "--json")
    document = missing.error("cohort")
    assert f"{consortium.banks.names[2]} has not shared it" in document.error.message
    assert not (consortium.newcomer.path / "runs" / run_id).exists()

    ended = command("adopt", run_id, *own, *given, "--alerts-per-day", "2")
    assert ended.code == 0, ended.err
    assert "stage: challenger; it decides nothing" in " ".join(ended.out.split())
    again = run_program(
        "bank-node", "adopt", run_id, *own, *given, "--alerts-per-day", "2", "--json"
    )
    adopted = again.answer("bank-node adopt")
    assert adopted["signed_by"] == sorted(consortium.banks.names)
    assert adopted["threshold"]["alerts"] == 2 * 12

    scores = []
    for state in (consortium.newcomer.path, consortium.state(0)):
        out = tmp_path / f"{state.name}.csv"
        run_program(
            *("bank-node", "score", "--state", state, "--data", consortium.files[3]),
            *("--run", run_id, "--out", out, "--json"),
        ).answer("bank-node score")
        scores.append(out.read_bytes())
    assert scores[0] == scores[1]
    found = pd.read_csv(tmp_path / "newcomer.csv")["score"].astype("float32")
    assert len(found.unique()) > 1
    assert 0 < (found >= adopted["threshold"]["threshold"]).sum() <= 24

    there = ("--state", consortium.newcomer.path, "--json")
    listed = run_program("bank-node", "models", "list", *there).answer("bank-node models list")
    assert [(one["model"], one["stage"]) for one in listed["models"]] == [(run_id, "challenger")]
    shown = run_program("bank-node", "models", "show", run_id, *there)
    assert shown.answer("bank-node models show")["run"]["signed_by"] == sorted(
        consortium.banks.names
    )
    policy = (adopted["policy"], *there, "--run", run_id)
    checked = run_program("bank-node", "policy", "check", *policy)
    assert checked.answer("bank-node policy check")["warn_only"] is True
    refused = run_program("bank-node", "models", "promote", run_id, *there).error("state")
    assert "the gate has not said anything" in refused.error.message
    against = ("--against", consortium.runs["statistics"], "--json")
    held = run_program("bank-node", "check-data", *own, *against)
    assert held.answer("bank-node check-data")["against"] == adopted["against"]

    # What left the banks, and what the newcomer did, stands in their logs.
    for bank in range(3):
        state = StateDirectory(consortium.state(bank))
        log = verify_audit_log(state.audit_path, signing_key=state.config.signing_key)
        (entry,) = [each for each in log if each.kind == "run-share"]
        assert (entry.event, entry.run_id) == ("sent", run_id)
        assert entry.note == f"to {name}, as a file"
        assert entry.body_bytes == files[bank].stat().st_size
    newcomer = consortium.newcomer
    log = verify_audit_log(newcomer.audit_path, signing_key=newcomer.config.signing_key)
    assert [each.event for each in log if each.kind == "adoption"] == ["noted"]
