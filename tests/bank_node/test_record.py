"""The record of a run has one shape for every kind, and every kind has its job."""

import json
from pathlib import Path
from typing import Any

import pytest

from bank_node.config import BankConfig
from bank_node.jobs.registry import JOBS
from bank_node.jobs.risk.run import RiskRecord, RiskResult
from bank_node.jobs.training import TrainingRecord, TrainingResult, TreeRecord
from bank_node.run.record import LastProcess, RunRecord, WholeRun, read_record, save_result
from bank_node.run.sums.phases import PhaseTimes
from bank_node.state.directory import StateDirectory
from bank_node.state.round_log import RoundLog
from bank_node.state.round_record import RoundRecord
from fraudfed.consortium.identity import Identity
from fraudfed.errors import StateError
from fraudfed.wire.messages import ModelSignatures, RunKind

SHA256 = "1" * 64
SIGNATURES = ModelSignatures(run_id="r1", sha256=SHA256, plain_sha256=SHA256, signatures=())
TREES = TrainingResult(
    parameters={"eta": 0.5},
    trees=1,
    rows=9,
    history=(TreeRecord(tree=0, leaves=2, metrics={"logloss": 0.25}),),
)
DAYS = RiskResult(first_day=19_506, last_day=19_507, table_bytes=80)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    identity = Identity.generate()
    config = BankConfig(
        name="a",
        aggregator="https://a.example",
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )
    return StateDirectory.create(tmp_path / "a", config, identity)


def whole_run(path: Path) -> WholeRun:
    log = RoundLog(path)
    for number in (0, 1):
        record = RoundRecord(number, "cuts", SHA256, SHA256, 2048, 3, 512, "gmp", 2, 3, True)
        log.append(record, bytes_sent=10, bytes_received=20)
    return WholeRun.model_validate(log.summary())


def record_of(record_type: type[RunRecord[Any]], result: Any, rounds: WholeRun) -> RunRecord[Any]:
    times = PhaseTimes()
    times.mark("cuts")
    times.rounds = 1
    return record_type(
        run_id="r1",
        name="a run",
        bank="a",
        members=("a", "b", "c"),
        generation=1,
        taken_from_registry=False,
        fraudfed_version="1",
        result=result,
        model_sha256=SHA256,
        registry_sha256=SHA256,
        model_visibility="members",
        key_epoch=1,
        key_bits=2048,
        key_fingerprint=SHA256,
        kernel="gmp",
        roster_confirmed=True,
        transport="https",
        whole_run=rounds,
        last_process=LastProcess(
            started_at=1,
            finished_at=2,
            threads=1,
            process_cpu_seconds=0.5,
            peak_memory_bytes=1,
            **times.to_dict(),
        ),
    )


@pytest.mark.parametrize(
    ("record_type", "result"), [(TrainingRecord, TREES), (RiskRecord, DAYS)], ids=["trees", "days"]
)
def test_a_record_is_read_as_it_was_written(
    state: StateDirectory, tmp_path: Path, record_type: type[RunRecord[Any]], result: Any
) -> None:
    assert read_record(state, "r1", record_type) is None
    record = record_of(record_type, result, whole_run(tmp_path / "rounds.log"))
    save_result(state, {}, SIGNATURES, record)
    assert read_record(state, "r1", record_type) == record
    document = json.loads((state.path / "runs" / "r1" / "record.json").read_text())
    assert document["result"]["kind"] == result.kind.value
    # The rounds of the whole run and those of the last process stand apart.
    assert (document["whole_run"]["rounds"], document["last_process"]["rounds"]) == (2, 1)
    assert [one["number"] for one in document["whole_run"]["round_records"]] == [0, 1]
    other = RiskRecord if record_type is TrainingRecord else TrainingRecord
    with pytest.raises(StateError, match=r"record\.json: result\."):
        read_record(state, "r1", other)


@pytest.mark.parametrize(
    ("where", "field", "value", "said"),
    [
        ((), "version", 2, "version is 2, this program reads 1"),
        ((), "version", None, "version is None"),
        ((), "unknown", 1, "unknown: Extra inputs"),
        (("result",), "unknown", 1, "result.unknown: Extra inputs"),
        (("whole_run", "protection"), "unknown", 1, "whole_run.protection.unknown: Extra inputs"),
        (("whole_run", "round_records", 0), "unknown", 1, "unknown: Unexpected keyword"),
        ((), "registry_sha256", "x", "registry_sha256: "),
    ],
)
def test_a_record_of_another_shape_is_refused(
    state: StateDirectory,
    tmp_path: Path,
    where: tuple[str | int, ...],
    field: str,
    value: object,
    said: str,
) -> None:
    record = record_of(TrainingRecord, TREES, whole_run(tmp_path / "rounds.log"))
    save_result(state, {}, SIGNATURES, record)
    path = state.path / "runs" / "r1" / "record.json"
    document = part = json.loads(path.read_text())
    for name in where:
        part = part[name]
    part[field] = value
    path.write_text(json.dumps(document))
    with pytest.raises(StateError, match=said):
        read_record(state, "r1", TrainingRecord)


def test_every_kind_of_run_has_its_job() -> None:
    assert set(JOBS) == set(RunKind)
    for kind, job in JOBS.items():
        assert job.kind is kind
        result_type = job.record_type.model_fields["result"].annotation
        assert result_type.model_fields["kind"].default is kind
    assert len({job.command for job in JOBS.values()}) == len(RunKind)
