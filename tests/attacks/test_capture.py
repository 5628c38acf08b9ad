"""What a run leaves behind at the aggregator: every body, every file, every line of its log.

Three banks train a model that only members may read, through a recording server. Training is
deterministic, so every statistic, cut point, metric and leaf of the run is known here from the same
banks in one process; each is searched in every encoding that a careless program would use.
"""

import hashlib
import itertools
import logging
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from attack_kit.searching import encodings, found
from cohorts.exact import run_cohort
from cohorts.recording import RecordingCommunicator, Summed
from federations.live import served
from federations.live_cohort import LiveCohort
from proxies.proxy import Exchange, Proxy

from bank_node.run.sums.secure_communicator import SecureCommunicator
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.communicator import Communicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.model_seal import open_model, seal_model
from fraudfed.consortium.public.documents import model_bytes
from fraudfed.dtypes import Int64Array
from fraudfed.intake.windows import windows_by_share
from fraudfed.parameters import BoosterParams
from fraudfed.wire import frames

BANKS = ("bank-a", "bank-b", "bank-c")
ROWS = (5717, 4409, 3313)
PARAMETERS = {
    "num_boost_round": 2,
    "max_depth": 3,
    "max_bin": 16,
    "eta": 0.5,
    "eval_metric": ["logloss", "auc"],
    "early_stopping_rounds": 2,
}
FEATURES = ("amount", "age_days")


@dataclass(frozen=True)
class Captured:
    """A finished run, all that the aggregator has of it, and all that it must not have."""

    bodies: list[bytes]
    heads: list[bytes]
    files: list[bytes]
    log: bytes
    tables: list[TrainingTable]
    vectors: list[Int64Array]
    result: TrainResult
    sealed: bytes
    opened: bytes

    @property
    def everything(self) -> bytes:
        """All of it, with something between the parts that is in none."""
        return b"\n#\n".join([*self.bodies, *self.heads, *self.files, self.log])


def make_tables() -> list[TrainingTable]:
    """Rows of three banks; a third of the frauds are large amounts on young accounts."""
    rng = np.random.default_rng(5)
    tables = []
    for n_rows in ROWS:
        amount = rng.lognormal(3, 1, n_rows).astype(np.float32)
        age = rng.exponential(300, n_rows).astype(np.float32)
        risk = 1 / (1 + np.exp(0.2 - 0.03 * amount + 0.001 * age))
        labels = (rng.random(n_rows) < risk).astype(np.float32)
        schema = FeatureSchema(FEATURES, (0, 0))
        tables.append(TrainingTable(schema, np.column_stack([amount, age]), labels))
    return tables


def train_one(table: TrainingTable, communicator: Communicator) -> TrainResult:
    """Do what ``bank_node.jobs.training`` does with a bank's rows."""
    params = BoosterParams.parse(PARAMETERS)
    windows = windows_by_share(table, seed=params.seed, select=True)
    return train(params, windows.train, communicator, validation=windows.validation)


class _Lines(logging.Handler):
    #: Python's own, in no line that is written: in thousands of long fractions, any digits stand.
    CLOCK = frozenset({"created", "msecs", "relativeCreated", "thread", "process"})

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        told = {key: value for key, value in vars(record).items() if key not in self.CLOCK}
        self.lines.append(f"{record.getMessage()} {told}")


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory, package: KeyPackage) -> Iterator[Captured]:
    work = tmp_path_factory.mktemp("captured")
    tables = make_tables()
    sums: list[Summed] = []
    expected = run_cohort(
        len(BANKS), lambda i, inner: train_one(tables[i], RecordingCommunicator(inner, sums))
    )
    handler, logger = _Lines(), logging.getLogger("aggregator")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    with (
        served(work / "aggregator", package, *BANKS) as live,
        Proxy(live.url) as proxy,
    ):
        run_id = live.start_run(1, parameters=PARAMETERS, model_visibility="members")
        cohort = LiveCohort(live, proxy.url, run_id, work)
        by_name = dict(zip(BANKS, tables, strict=True))

        def work_of(name: str, communicator: SecureCommunicator) -> TrainResult:
            result = train_one(by_name[name], communicator)
            model = result.model.to_json()
            plain = hashlib.sha256(model).hexdigest()
            sealed = seal_model(model, holder=package, run_id=run_id)
            signed = model_bytes(run_id=run_id, plain_sha256=plain)
            cohort.clients[name].submit_model(
                run_id,
                hashlib.sha256(sealed).hexdigest(),
                sealed,
                plain_sha256=plain,
                signature=live[name].identity.sign(signed).hex(),
            )
            return result

        results = cohort.each(work_of)
        cohort.close()
        models = {result.model.to_json() for result in results.values()}
        assert models == {result.model.to_json() for result in expected}
        assert live.status(run_id)["state"] == "finished"
        stored = live["bank-a"].request("GET", f"/v1/runs/{run_id}/model").body
        files = [path.read_bytes() for path in live.state.rglob("*") if path.is_file()]
        yield Captured(
            bodies=[part for e in proxy.exchanges for part in (e.body, *answers_of(e))],
            heads=heads_of(proxy),
            files=files,
            log="\n".join(handler.lines).encode(),
            tables=tables,
            vectors=[vector for one in sums for vector in (one.values, one.total)],
            result=expected[0],
            sealed=stored,
            opened=open_model(stored, holder=package, run_id=run_id),
        )
    logger.removeHandler(handler)
    logger.setLevel(level)


def answers_of(exchange: Exchange) -> list[bytes]:
    """Split joined frames.

    With the zeros of a frame's length behind them, two random bytes are some count in binary.
    """
    if exchange.status != 200 or not exchange.route[1].endswith("/openings"):
        return [exchange.answer]
    found = frames.decode_many(exchange.answer, source="test")
    return [frames.encode(header, payload) for header, payload in found]


def heads_of(proxy: Proxy) -> list[bytes]:
    return [f"{e.method} {e.path} {e.headers} {e.answer_headers}".encode() for e in proxy.exchanges]


# What is searched, in every encoding


def telling(vectors: list[Int64Array]) -> list[bytes]:
    """Return needles of vectors from all over the run, as many as can be searched in seconds."""
    needles = sorted({needle for vector in vectors for needle in encodings(vector, 6)})
    return needles[:: 1 + len(needles) // 500]


def of_counts(*counts: int) -> Iterator[bytes]:
    """Yield neighbouring counts as a machine writes them; as text they are searched apart."""
    for order in "<>":
        yield struct.pack(f"{order}{len(counts)}q", *counts)
        yield struct.pack(f"{order}{len(counts)}d", *map(float, counts))


def of_real(value: float) -> Iterator[bytes]:
    """Yield a real number in binary, and with as many digits as tell it from others."""
    for order in "<>":
        yield struct.pack(f"{order}d", value)
    for text in {repr(float(value)), f"{value:.6f}", str(np.float32(value))}:
        # Shorter ones stand among the times of a log by chance.
        if len(text.strip("0.-")) >= 7:
            yield text.encode()


def feature_values(captured: Captured) -> Iterator[bytes]:
    for table in captured.tables:
        features = np.asarray(table.features)
        for row in features[:: len(features) // 20]:
            for value in row:
                yield from of_real(float(value))
            yield np.ascontiguousarray(row, dtype="<f4").tobytes()


def label_counts(captured: Captured) -> list[int]:
    """Return the frauds of each bank and of all, in all rows and in those of training."""
    seed = BoosterParams.parse(PARAMETERS).seed
    fitted = [windows_by_share(table, seed=seed, select=True).train for table in captured.tables]
    counts = []
    for tables in (captured.tables, fitted):
        own = [int(np.asarray(table.labels).sum()) for table in tables]
        counts += [*own, sum(own)]
    assert min(counts) > 1000
    return counts


def cut_points(captured: Captured) -> Iterator[bytes]:
    for cuts in captured.result.cuts.values:
        for value in np.atleast_1d(cuts):
            if np.isfinite(value):
                yield from of_real(float(value))


def metrics(captured: Captured) -> Iterator[bytes]:
    for tree in captured.result.history:
        for value in tree.metrics.values():
            yield from of_real(float(value))


def as_text(haystack: bytes, number: int) -> bool:
    """Tell whether a number stands somewhere as a number, not as part of a digest or a box."""
    return re.search(rb"(?<![0-9A-Za-z+/.])%d(?![0-9A-Za-z+/=])" % number, haystack) is not None


def texts(captured: Captured) -> bytes:
    """Return all JSON. In ciphertexts, sizes and times of a log four digits stand by chance."""
    return b"\n".join(body for body in captured.bodies if body.startswith(b"{"))


def assert_nothing_readable(captured: Captured, haystack: bytes, *, neighbours: int = 1) -> None:
    """Search for everything; for so many counts at a time."""
    counts = itertools.permutations(label_counts(captured), neighbours)
    needles = [
        *telling(captured.vectors),
        *(needle for group in counts for needle in of_counts(*group)),
        *feature_values(captured),
        *cut_points(captured),
        *metrics(captured),
    ]
    assert not found(haystack, needles)


def test_control_the_search_finds_what_is_planted(captured: Captured) -> None:
    """Each kind of needle exists, and is found where it is."""
    assert len(telling(captured.vectors)) > 100
    long = next(vector for vector in captured.vectors if list(encodings(vector, 6)))
    assert found(b"head" + long.astype("<i8").tobytes() + b"tail", encodings(long, 6))
    for needles in (feature_values(captured), cut_points(captured), metrics(captured)):
        every = list(needles)
        assert len(every) > 4
        assert len(found(b"..".join(every), every)) == len(every)
    count = label_counts(captured)[0]
    assert as_text(b'{"frauds": %d}' % count, count)
    assert found(struct.pack("<q", count), of_counts(count))
    # The model, which the members have, holds cut points and metrics of the run as text.
    assert found(captured.opened, cut_points(captured))
    with pytest.raises(AssertionError):
        assert_nothing_readable(captured, captured.log + captured.opened)


def test_no_request_holds_anything_readable(captured: Captured) -> None:
    assert len(captured.bodies) > 100
    assert_nothing_readable(captured, b"\n#\n".join(captured.bodies + captured.heads))
    for count in label_counts(captured):
        assert not as_text(texts(captured), count)


def test_the_aggregators_files_hold_nothing_readable(captured: Captured) -> None:
    assert any(part.startswith(b"SQLite format 3") for part in captured.files)
    # Pages are filled up with zeros: behind a ciphertext's last two bytes, those are some count.
    assert_nothing_readable(captured, b"\n#\n".join(captured.files), neighbours=2)


def test_the_aggregators_log_holds_nothing_readable(captured: Captured) -> None:
    assert b"/rounds/" in captured.log
    assert_nothing_readable(captured, captured.log)


def test_a_model_for_members_is_sealed(captured: Captured) -> None:
    assert captured.opened == captured.result.model.to_json()
    assert captured.opened not in captured.everything
    assert captured.opened[:200] not in captured.everything
    assert captured.sealed in captured.bodies
    values = np.frombuffer(captured.sealed, dtype=np.uint8)
    assert len(np.unique(values)) > 200


def test_a_model_for_members_opens_in_its_run_only(captured: Captured, package: KeyPackage) -> None:
    other = KeyPackage.generate(512, insecure_allow_small_key=True)
    for holder, run_id in ((other, "any"), (package, "another")):
        with pytest.raises(Exception, match="model"):
            open_model(captured.sealed, holder=holder, run_id=run_id)
