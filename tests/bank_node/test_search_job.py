"""A bank's part in a search, without processes: states, results and what is refused of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cohorts.exact import run_cohort
from examples.search import COMMON, CONTRACT, SPEC, rows_of, search_run, with_candidates

from bank_node.approval.cost import search_cost
from bank_node.config import CohortRules
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.jobs.judging import JudgedState, Judging
from bank_node.jobs.search import SearchJob, SearchRunResult, SearchWork
from bank_node.run.job import Outcome
from bank_node.run.progress import RunProgress
from bank_node.state.pinned_run import PinnedRun
from fraudfed.catalogue.run_check import check_candidates
from fraudfed.communicator import Communicator, SoloCommunicator
from fraudfed.console import stderr_console
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ConfigurationError, ParameterError, StateError
from fraudfed.search.state import SearchState
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.wire.messages import ModelVisibility, PublicKeyMessage, RunKind
from fraudfed.wire.search_results import decode, encode

State = JudgedState[SearchState]


def pinned(**changes: Any) -> PinnedRun:
    return PinnedRun.model_construct(
        run_id="r",
        spec=search_run(1, **changes),
        cohort=("a", "b", "c"),
        public_key=PublicKeyMessage.model_construct(n="ff", fingerprint="1" * 64),
    )


def work_of(path: Path, bank: int = 0) -> SearchWork:
    rows_of(bank).to_parquet(path)
    shares = TableShares(select=True, judge=True)
    windows = load_training_rows(path, CONTRACT, shares=shares).windows
    assert windows.select is not None
    return SearchWork(
        spec=SPEC,
        common=COMMON,
        table=windows.train,
        select=windows.select,
        judging=Judging.of(windows, CONTRACT),
        rows_read=300,
        data_sha256="0" * 64,
        row_keys=("k",),
        progress=RunProgress(stderr_console(), enabled=False),
        threads=1,
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> SearchWork:
    return work_of(tmp_path_factory.mktemp("rows") / "rows.parquet")


@pytest.fixture(scope="module")
def done(work: SearchWork) -> tuple[Outcome[SearchRunResult], list[State]]:
    states: list[State] = []
    return work.run(SoloCommunicator(), start=None, on_step=states.append), states


def test_a_search_continues_from_each_of_its_states_to_the_same_bytes(
    work: SearchWork, done: tuple[Outcome[SearchRunResult], list[State]]
) -> None:
    outcome, states = done
    # The preparation, four trees, and the judging.
    assert [state.n_steps for state in states] == [1, 2, 3, 4, 5, 6]
    for number, state in enumerate(states):
        read = work.decode(state.to_bytes())
        assert read.to_bytes() == state.to_bytes()
        later: list[State] = []
        again = work.run(SoloCommunicator(), start=read, on_step=later.append)
        assert again == outcome
        assert [one.to_bytes() for one in later] == [s.to_bytes() for s in states[number + 1 :]]


def test_the_judge_window_is_used_once(
    work: SearchWork, done: tuple[Outcome[SearchRunResult], list[State]]
) -> None:
    outcome, states = done

    class NoSums(SoloCommunicator):
        def sum(self, *_: Any, **__: Any) -> Int64Array:
            raise AssertionError("summed again")

    regrouped = work.regroup(states[-1], more_rows=0)
    assert work.run(NoSums(), start=regrouped, on_step=states.append).result == outcome.result


def test_a_state_that_no_such_search_comes_to_is_refused(
    work: SearchWork, done: tuple[Outcome[SearchRunResult], list[State]]
) -> None:
    _, states = done
    bytes_of = states[2].to_bytes()
    with pytest.raises(StateError):
        work.decode(bytes_of[:-1] + bytes([bytes_of[-1] ^ 1]))
    other = replace(work, common={**COMMON, "eta": 0.2})
    with pytest.raises(StateError, match="another search"):
        other.decode(bytes_of)
    early = JudgedState(states[2].work, states[-1].verdict)
    with pytest.raises(StateError, match="not finished"):
        work.decode(early.to_bytes())
    with pytest.raises(StateError, match="keeps no rows to judge by"):
        replace(work, judging=Judging()).decode(states[-1].to_bytes())


def test_a_result_is_described_by_itself(
    work: SearchWork, done: tuple[Outcome[SearchRunResult], list[State]]
) -> None:
    outcome, _ = done
    own = outcome.result
    described = SearchJob().describe(pinned(), outcome.content)
    assert described == own.model_copy(update={"rows": None, "verdict": None})
    assert (own.rows, own.trees) == (300, own.parameters["num_boost_round"])
    found, model = decode(outcome.content, source="test")
    assert encode(found, model) == outcome.content
    for wrong in (
        b"",
        found,
        found + b"{}",
        b"{}\n" + model,
        b"[\n" + model,
        found.replace(b'"choice"', b'"choices"') + model,
        found.replace(b'"trees":2', b'"trees":"two"') + model,
    ):
        with pytest.raises(StateError):
            SearchJob().describe(pinned(), wrong)
    other = with_candidates({"name": "x"}, {"name": "y", "parameters": {"eta": 0.1}})
    with pytest.raises(StateError, match="other candidates"):
        SearchJob().describe(pinned(search=other), outcome.content)


def test_what_no_bank_could_meet_is_refused_before_joining() -> None:
    job, rules = SearchJob(), CohortRules()
    job.accept(pinned(), rules, None)  # type: ignore[arg-type]
    wrong = with_candidates({"name": "a"}, {"name": "b", "parameters": {"max_dept": 3}})
    with pytest.raises(ParameterError, match="candidate 'b': unknown parameter"):
        job.accept(pinned(search=wrong), rules, None)  # type: ignore[arg-type]
    members = CohortRules(model_visibility=(ModelVisibility.MEMBERS,))
    with pytest.raises(ConfigurationError, match="model_visibility is 'aggregator'"):
        job.accept(pinned(), members, None)  # type: ignore[arg-type]
    spec = search_run(1).model_copy(update={"kind": RunKind.TRAINING, "search": None})
    training = pinned().model_copy(update={"spec": spec})
    with pytest.raises(ConfigurationError, match="of kind training, expected a search"):
        job.accept(training, rules, None)  # type: ignore[arg-type]


class Counting:
    """Counts rounds and ciphertexts as the secure sum would need them."""

    def __init__(self, inner: Communicator, key_bits: int) -> None:
        self.inner, self.key_bits, self.rounds, self.ciphertexts = inner, key_bits, 0, 0

    def sum(self, values: Int64Array, *, bound: Any, low: Any = None, label: str) -> Int64Array:
        slots = SlotLayout.for_bounds(
            bound, values.shape, plaintext_bits=self.key_bits - 2, low=low
        )
        self.rounds, self.ciphertexts = self.rounds + 1, self.ciphertexts + slots.n_plaintexts
        return self.inner.sum(values, bound=bound, low=low, label=label)


def test_the_cost_that_is_shown_is_an_upper_bound(tmp_path: Path) -> None:
    works = [work_of(tmp_path / f"{bank}.parquet", bank) for bank in range(3)]

    def program(bank: int, communicator: Communicator) -> Counting:
        counting = Counting(communicator, 2048)
        works[bank].run(counting, start=None, on_step=lambda _: None)
        return counting

    estimate = search_cost(CONTRACT, SPEC, check_candidates(CONTRACT, SPEC, COMMON), key_bits=2048)
    for counted in run_cohort(3, program):
        assert 0 < counted.rounds <= estimate.rounds
        assert 0 < counted.ciphertexts <= estimate.ciphertexts
    assert estimate.rounds < 2 * counted.rounds
