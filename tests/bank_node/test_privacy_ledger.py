"""The privacy ledger: what is spent, what is never given back, and what survives a kill."""

import math
import signal
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank_node.config import PrivacyRules
from bank_node.run.charges import GenerationCharges
from bank_node.state import privacy_ledger as module
from bank_node.state.privacy_ledger import ChargeState, PrivacyLedger
from fraudfed.errors import ParameterError, PrivacyBudgetError, StateError
from fraudfed.privacy.accounting import RHO_GRID, epsilon_of, on_grid, total
from fraudfed.privacy.events import Blocks, PrivacyEvent
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit

BUDGET = Fraction(1)
DAY = date(2026, 1, 1)
ONE_DAY = Blocks.of_days(DAY, DAY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    PrivacyLedger.create(tmp_path / "privacy.ledger")
    return tmp_path / "privacy.ledger"


def opened(path: Path, budget: Fraction = BUDGET) -> PrivacyLedger:
    return PrivacyLedger(path, budget=budget)


def event(
    rho: Fraction | str = "1/10",
    blocks: Blocks = ONE_DAY,
    *,
    run: str = "r",
    label: str = "private-bins:0",
    unit: PrivacyUnit = PrivacyUnit.ROW,
    generation: int = 0,
) -> PrivacyEvent:
    exact = on_grid(Fraction(rho))
    return PrivacyEvent(
        run_id=run,
        label=label,
        unit=unit,
        banks=("a", "b", "c"),
        generation=generation,
        tolerated_colluders=1,
        n_values=64,
        moved=2 * exact,
        least_variance=1 << 20,
        largest_variance=1 << 20,
        rho=exact,
        blocks=blocks,
    )


def context(number: int) -> str:
    return f"{number:064x}"


def days(first: int, last: int) -> Blocks:
    return Blocks.of_days(DAY + timedelta(days=first), DAY + timedelta(days=last))


# What is spent


def test_a_reservation_counts_as_spent_and_a_commit_changes_no_total(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event())
    assert ledger.spent(ONE_DAY) == event().rho
    ledger.commit(context(1))
    ledger.commit(context(1))
    assert ledger.spent(ONE_DAY) == event().rho
    again = opened(path)
    assert again.spent(ONE_DAY) == event().rho
    assert [one.state for one in again.charges()] == [ChargeState.COMMITTED]


def test_a_bank_that_was_killed_reserves_the_same_and_nothing_is_charged_twice(path: Path) -> None:
    opened(path).reserve(context(1), event())
    size = path.stat().st_size
    again = opened(path)
    again.reserve(context(1), event())
    assert path.stat().st_size == size
    assert again.spent(ONE_DAY) == event().rho


def test_a_redo_with_another_set_is_charged_as_well(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event())
    ledger.commit(context(1))
    ledger.reserve(context(2), event(generation=1))
    assert ledger.spent(ONE_DAY) == 2 * event().rho


def test_another_release_for_the_same_context_is_refused(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event())
    before = path.read_bytes()
    with pytest.raises(StateError, match="was reserved for 'private-bins:0' and is reserved now"):
        ledger.reserve(context(1), event("1/20"))
    assert path.read_bytes() == before


def test_nothing_is_revealed_that_was_not_reserved(path: Path) -> None:
    with pytest.raises(StateError, match="nothing is reserved for context 0000000000000000"):
        opened(path).commit(context(1))


def test_the_budget_is_never_exceeded_and_a_refusal_writes_nothing(path: Path) -> None:
    ledger = opened(path)
    for number in range(9):
        ledger.reserve(context(number), event())
    before = path.read_bytes()
    with pytest.raises(PrivacyBudgetError) as refused:
        ledger.reserve(context(9), event("1/5"))
    assert (
        "sum 'private-bins:0': it costs a rho of 0.2, and day 2026-01-01 has 0.1 of 1 left"
        in str(refused.value)
    )
    assert refused.value.exit_code == 16
    assert path.read_bytes() == before
    assert context(9) not in ledger._charges


def test_what_fits_exactly_is_paid(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(0), event("3/4"))
    ledger.reserve(context(1), event("1/4"))
    assert ledger.spent(ONE_DAY) == BUDGET
    with pytest.raises(PrivacyBudgetError):
        ledger.reserve(context(2), event(Fraction(1, RHO_GRID)))


def test_a_row_in_12_monthly_windows_is_charged_12_times(path: Path) -> None:
    ledger = opened(path)
    for month in range(12):
        # A year of rows each, a month later: January of the second year is in all of them.
        window = days(30 * month, 30 * month + 364)
        ledger.reserve(context(month), event("1/20", window, run=f"r{month}"))
        ledger.commit(context(month))
    cost = event("1/20").rho
    assert ledger.spent(days(340, 340)) == 12 * cost
    assert ledger.spent(days(0, 0)) == cost
    assert ledger.spent(days(-10, -1)) == 0
    with pytest.raises(PrivacyBudgetError, match=r"day 2026-11-27 has 0\.4 of 1 left"):
        ledger.reserve(context(99), event("9/20", days(0, 364)))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(1, 10**6)), max_size=25),
    st.tuples(st.integers(0, 60), st.integers(0, 20)),
)
def test_totals_equal_a_count_day_by_day(
    spans: list[tuple[int, int, int]], asked: tuple[int, int]
) -> None:
    by_blocks: Counter[Blocks] = Counter()
    by_day: Counter[int] = Counter()
    for first, more, steps in spans:
        by_blocks[days(first, first + more)] += steps
        for day in range(first, first + more + 1):
            by_day[day] += steps
    most, name = module._most(dict(by_blocks), days(asked[0], asked[0] + asked[1]))
    wanted = {day: by_day[day] for day in range(asked[0], asked[0] + asked[1] + 1)}
    assert most == max(wanted.values())
    named = (date.fromisoformat(name.removeprefix("day ")) - DAY).days
    assert wanted[named] == most
    listed = {}
    for found, steps in module._by_days(dict(by_blocks)):
        first = (found.first - DAY).days
        for day in range(first, (found.last - DAY).days + 1):
            assert day not in listed
            listed[day] = steps
    assert listed == {day: steps for day, steps in by_day.items() if steps}


def test_files_without_times_are_charged_on_each_of_their_keys(path: Path) -> None:
    one, other = Blocks.of_table(["a" * 32, "b" * 32]), Blocks.of_table(["b" * 32, "c" * 32])
    ledger = opened(path)
    ledger.reserve(context(1), event("1/2", one))
    ledger.reserve(context(2), event("1/4", other))
    assert ledger.spent(one) == Fraction(3, 4)
    assert ledger.spent(Blocks.of_table(["c" * 32])) == Fraction(1, 4)
    assert ledger.spent(ONE_DAY) == 0
    with pytest.raises(PrivacyBudgetError, match=f"table {'b' * 32} has 0.25 of 1 left"):
        ledger.reserve(context(3), event("1/2", other))


def test_the_unit_customer_is_charged_to_one_account_over_all_days(path: Path) -> None:
    ledger = opened(path)
    for number in range(3):
        blocks = days(100 * number, 100 * number + 30)
        ledger.reserve(context(number), event("1/4", blocks, unit=PrivacyUnit.CUSTOMER))
    # No day has spent more than a quarter, and a customer may have paid on each of them.
    assert ledger.spent(days(0, 300)) == Fraction(1, 4)
    assert ledger.spent_by_customers() == Fraction(3, 4)
    fresh = days(1000, 1000)
    with pytest.raises(PrivacyBudgetError, match=r"the account of all customers .* has 0.25 of 1"):
        ledger.reserve(context(9), event("1/2", fresh, unit=PrivacyUnit.CUSTOMER))
    ledger.reserve(context(9), event("1/2", fresh))
    assert ledger.spent_by_customers() == Fraction(3, 4)


# What is given back


def test_a_release_gives_back_only_what_was_not_revealed(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event())
    ledger.reserve(context(2), event())
    ledger.commit(context(2))
    assert ledger.release(context(1))
    assert not ledger.release(context(1))
    assert not ledger.release(context(2)), "what was revealed stays charged"
    assert not ledger.release(context(3))
    for one in (ledger, opened(path)):
        assert one.spent(ONE_DAY) == event().rho
        # Its seed is erased: the context is never used again.
        with pytest.raises(StateError, match="is released now"):
            one.reserve(context(1), event())
        with pytest.raises(StateError, match="nothing was revealed"):
            one.commit(context(1))


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("rcx")), max_size=15))
def test_no_order_of_calls_ever_lowers_what_was_revealed(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, str]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "privacy.ledger"
    PrivacyLedger.create(path)
    ledger = opened(path)
    revealed: set[int] = set()
    for number, call in calls:
        try:
            if call == "r":
                ledger.reserve(context(number), event("1/8", label=f"sum:{number}"))
            elif call == "c":
                ledger.commit(context(number))
                revealed.add(number)
            else:
                ledger.release(context(number))
        except StateError:
            pass
        assert ledger.spent(ONE_DAY) >= Fraction(len(revealed), 8)
        assert ledger.spent(ONE_DAY) <= BUDGET
    assert opened(path).spent(ONE_DAY) == ledger.spent(ONE_DAY)
    assert opened(path).totals() == ledger.totals()


# Before a run is joined


def refused(
    ledger: PrivacyLedger,
    rho: str,
    blocks: Blocks = ONE_DAY,
    *,
    unit: PrivacyUnit = PrivacyUnit.ROW,
    run: str = "new",
) -> str | None:
    before = ledger.charges()
    found = ledger.refusal({blocks: Fraction(rho)}, unit=unit, run_id=run)
    assert ledger.charges() == before
    return found


def test_a_run_is_refused_before_it_is_joined_and_may_continue_with_what_it_has(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event("1/4", run="old"))
    assert refused(ledger, "3/4") is None
    wanted = "run new: it costs a rho of 0.8, and day 2026-01-01 has 0.75 of 1 left for its life"
    assert refused(ledger, "4/5") == wanted
    # Half of it is charged when the bank is started again: the same plan still fits.
    ledger.reserve(context(2), event("1/2", run="new"))
    assert refused(ledger, "3/4") is None
    assert refused(ledger, "4/5") is not None


def test_a_run_for_customers_asks_their_account_too(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event("1/2", days(0, 1), unit=PrivacyUnit.CUSTOMER))
    found = refused(ledger, "3/5", days(50, 60), unit=PrivacyUnit.CUSTOMER)
    assert found is not None
    assert "customers" in found
    assert refused(ledger, "3/5", days(50, 60)) is None


def test_the_account_of_customers_pays_for_all_parts_of_a_plan_together(path: Path) -> None:
    ledger = opened(path)
    parts = {days(0, 9): Fraction(3, 5), days(20, 29): Fraction(3, 5)}
    ask = ledger.refusal
    assert ask(parts, unit=PrivacyUnit.ROW, run_id="r") is None
    found = ask(parts, unit=PrivacyUnit.CUSTOMER, run_id="r")
    assert found is not None
    assert "it costs a rho of 1.2" in found
    # What it has been charged counts, in whichever part.
    ledger.reserve(context(1), event("1/2", days(0, 9), unit=PrivacyUnit.CUSTOMER))
    found = ask(parts, unit=PrivacyUnit.CUSTOMER, run_id="r")
    assert found is not None
    assert "it costs a rho of 0.7, and the account of all customers" in found


def test_what_a_run_did_not_reveal_is_given_back_and_no_other_runs(path: Path) -> None:
    ledger = opened(path)
    for number, run in enumerate(("r", "r", "other")):
        ledger.reserve(context(number), event(run=run))
    ledger.commit(context(0))
    assert ledger.release_unrevealed("r") == 1
    assert ledger.release_unrevealed("r") == 0
    states = [one.state for one in opened(path).charges()]
    assert states == [ChargeState.COMMITTED, ChargeState.RELEASED, ChargeState.RESERVED]
    assert opened(path).spent(ONE_DAY) == 2 * event().rho


def test_a_window_without_ends_is_charged_to_all_days(path: Path) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event("1/2", Blocks.of_days(date(1970, 1, 1), date.max)))
    assert ledger.spent(ONE_DAY) == Fraction(1, 2)
    assert [one.name for one in ledger.totals()] == ["1970-01-01 to 9999-12-31"]


# What survives


@pytest.mark.parametrize("count", range(1, 5))
def test_a_last_record_that_a_crash_cut_off_is_dropped_at_every_byte(
    path: Path, count: int
) -> None:
    ledger = opened(path)
    ledger.reserve(context(0), event())
    sizes = [path.stat().st_size]
    for number in range(1, count):
        ledger.reserve(context(number), event())
        sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    before = sizes[-2] if count > 1 else len(first_record(path))
    for cut in range(before, len(whole), 31):
        path.write_bytes(whole[:cut])
        assert opened(path).spent(ONE_DAY) == (count - 1) * event().rho
        # And the next one takes the place of the part.
        opened(path).reserve(context(77), event("1/3"))
        assert opened(path).spent(ONE_DAY) == (count - 1) * event().rho + on_grid(Fraction(1, 3))


def first_record(path: Path) -> bytes:
    return next(
        path.read_bytes()[: record.end]
        for record in module._RECORD.unpack_row(path.read_bytes(), source="x")
    )


@pytest.mark.parametrize("step", range(0, 700, 23))
def test_a_changed_byte_is_noticed_or_changes_nothing(path: Path, step: int) -> None:
    ledger = opened(path)
    ledger.reserve(context(1), event())
    ledger.commit(context(1))
    ledger.reserve(context(2), event())
    ledger.commit(context(2))
    data = bytearray(path.read_bytes())
    data[step % len(data)] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StateError):
        opened(path)


def test_a_ledger_that_is_missing_or_another_is_refused(path: Path, tmp_path: Path) -> None:
    mark = opened(path).mark
    PrivacyLedger(path, budget=BUDGET, mark=mark)
    path.unlink()
    with pytest.raises(StateError, match="the privacy ledger is missing"):
        opened(path)
    PrivacyLedger.create(path)
    with pytest.raises(StateError, match="somebody has put another one there"):
        PrivacyLedger(path, budget=BUDGET, mark=mark)


def test_two_programs_do_not_write_over_each_other(path: Path) -> None:
    one, other = opened(path), opened(path)
    one.reserve(context(1), event())
    with pytest.raises(StateError, match="another program changed it: nothing was sealed"):
        other.reserve(context(2), event())


_CHILD = """
import os, posix, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_privacy_ledger import context, event, opened

places, is_late = Path(sys.argv[1]), sys.argv[2] == "late"

def run(place, left):
    real = {{name: getattr(os, name) for name in ("pwrite", "write", "fdatasync", "ftruncate")}}
    def counting(name):
        def call(*arguments):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), 9)
            left -= 1
            return real[name](*arguments)
        setattr(os, name, call)
    for name in real:
        counting(name)
    told = posix.open(place / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    ledger = opened(place / "privacy.ledger")
    for number in range(3):
        steps = [lambda: ledger.reserve(context(number), event()), lambda: posix.write(told, b"s")]
        for step in reversed(steps) if is_late else steps:
            step()
        ledger.commit(context(number))
        posix.write(told, b"r")

for place in sorted(places.iterdir()):
    child = os.fork()
    if child == 0:
        run(place, int(place.name))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (place / "status").write_text(str(status))
"""
_MOST_CALLS = 40


def killed(tmp_path: Path, order: str) -> list[tuple[int, int, int, PrivacyLedger]]:
    """Return sealed, revealed, status and ledger of children that died at each of their calls."""
    places = [tmp_path / f"{calls:02}" for calls in range(_MOST_CALLS)]
    for place in places:
        place.mkdir()
        PrivacyLedger.create(place / "privacy.ledger")
    code = _CHILD.format(here=str(Path(__file__).parent))
    subprocess.run([sys.executable, "-c", code, tmp_path, order], check=True)
    found = []
    for place in places:
        told = (place / "told").read_bytes() if (place / "told").exists() else b""
        status = int((place / "status").read_text())
        ledger = opened(place / "privacy.ledger")
        found.append((told.count(b"s"), told.count(b"r"), status, ledger))
    assert {status for _, _, status, _ in found} == {0, -signal.SIGKILL}, "all calls are tried"
    return found


def test_killed_at_any_call_it_has_charged_all_that_could_be_told(tmp_path: Path) -> None:
    """A child dies at each of its writes and syncs; what it had sealed or revealed is charged."""
    for sealed, revealed, _, ledger in killed(tmp_path, "reserve first"):
        assert ledger.spent(ONE_DAY) >= sealed * event().rho
        states = [one.state for one in ledger.charges()]
        assert states.count(ChargeState.COMMITTED) >= revealed
        # It continues where it was, and the same sums are charged once.
        for number in range(3):
            ledger.reserve(context(number), event())
            ledger.commit(context(number))
        assert ledger.spent(ONE_DAY) == 3 * event().rho


def test_control_sealed_before_it_is_reserved_a_sum_is_told_for_nothing(tmp_path: Path) -> None:
    found = killed(tmp_path, "late")
    assert any(ledger.spent(ONE_DAY) < sealed * event().rho for sealed, _, _, ledger in found)


# The budget, and events


def test_the_default_budget_is_epsilon_10_and_pays_for_the_tails() -> None:
    rules = PrivacyRules()
    assert rules.epsilon == 10.0
    assert rules.delta == 1e-6
    assert epsilon_of(rules.rho(), rules.delta) < 10.0
    assert epsilon_of(rules.rho(), rules.delta) > 9.99


def test_a_budget_whose_tails_take_all_of_delta_is_refused() -> None:
    with pytest.raises(ValueError, match="the tails of 4096 runs take more than all of it"):
        PrivacyRules(epsilon=30, delta=1e-6)


def test_charges_of_a_generation_make_events_of_their_releases(path: Path) -> None:
    terms = PrivacyTerms(epsilon=1, tolerated_colluders=1, declared_rows=1000)
    ledger = opened(path)
    charges = GenerationCharges(
        ledger, terms, days(0, 364), run_id="r", number=2, banks=["c", "a", "b"]
    )
    variance = np.array([[1 << 30], [1 << 28]], dtype=np.int64)
    release = NoisedRelease(variance=variance, moved=Fraction(1, 100))
    charges.reserve(context(1), label="private-bins:3", release=release, n_values=128)
    charges.commit(context(1))
    (found,) = opened(path).charges()
    assert found.state is ChargeState.COMMITTED
    assert found.event.banks == ("a", "b", "c")
    assert found.event.generation == 2
    assert (found.event.least_variance, found.event.largest_variance) == (1 << 28, 1 << 30)
    assert found.event.adjacency == "add-or-remove"
    assert Fraction(1, 200) < found.event.rho <= Fraction(1, 200) + Fraction(2, RHO_GRID)
    assert ledger.spent(days(10, 10)) == found.event.rho


def test_noise_that_is_too_narrow_is_refused_before_anything_is_written(path: Path) -> None:
    terms = PrivacyTerms(epsilon=1, tolerated_colluders=1, declared_rows=1000)
    charges = GenerationCharges(
        opened(path), terms, ONE_DAY, run_id="r", number=0, banks=["a", "b", "c"]
    )
    before = path.read_bytes()
    release = NoisedRelease(variance=2 * 65_535, moved=Fraction(1))
    with pytest.raises(ParameterError, match="a bank's own noise is 65535 units"):
        charges.reserve(context(1), label="x", release=release, n_values=1)
    assert path.read_bytes() == before


@given(st.fractions(0, 2, max_denominator=10**12))
def test_events_are_the_same_after_json(moved: Fraction) -> None:
    release = NoisedRelease(variance=1 << 40, moved=moved)
    one = PrivacyEvent.of(
        release,
        run_id="r",
        label="x",
        unit=PrivacyUnit.ROW,
        banks=["a", "b"],
        generation=0,
        tolerated_colluders=0,
        n_values=3,
        blocks=ONE_DAY,
    )
    assert PrivacyEvent.model_validate_json(one.model_dump_json()) == one
    assert one.rho >= moved / 2


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("rho", "1/3", "not on the grid"),
        ("rho", "0", "below moved"),
        ("tolerated_colluders", 3, "no bank of the set is honest"),
        ("banks", ["b", "a"], "not sorted"),
        ("least_variance", 1 << 30, "above largest_variance"),
        ("version", 2, "Input should be 1"),
        ("adjacency", "replace", "add-or-remove"),
        ("rho", "nan", "not a valid fraction"),
        ("more", 1, "Extra inputs"),
    ],
)
def test_an_event_that_contradicts_itself_is_refused(field: str, value: object, why: str) -> None:
    data = event().model_dump(mode="json") | {field: value}
    with pytest.raises(ValueError, match=why):
        PrivacyEvent.model_validate(data)


def test_epsilon_of_many_small_releases_is_what_one_computes_from_their_sum(path: Path) -> None:
    ledger = opened(path)
    for number in range(50):
        ledger.reserve(context(number), event("1/1000"))
    spent = ledger.spent(ONE_DAY)
    assert spent == total([Fraction(1, 1000)] * 50)
    assert math.isclose(epsilon_of(spent, 1e-6), epsilon_of(Fraction(50, 1000), 1e-6))
