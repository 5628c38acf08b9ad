"""The ledger: what a set of banks costs, and that nothing but the newest file will do."""

import pickle
from pathlib import Path

import pytest
from examples.ledgers import ledger_at, reveal
from hypothesis import given
from hypothesis import strategies as st
from oracles.run_model import changes_of, isolated

from bank_node.state import ledger as ledger_module
from bank_node.state import ledger_file
from bank_node.state.ledger import Account, Ledger, Member, Reveal
from fraudfed.errors import CohortError, StateError
from fraudfed.wire.messages import MemberKeys

K1, K2 = "1" * 32, "2" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Ledger.create(tmp_path / "ledger")
    return tmp_path / "ledger"


def note(path: Path, sets: list[str], *, keys=(K1,), allowed: int = 0, run: str = "r") -> None:
    """Note sets one after the other, each in a generation and a process of its own."""
    for number, banks in enumerate(sets):
        Ledger(path).note(keys, reveal(banks, run, number), set_changes=allowed)


def refused(path: Path, banks: str, *, keys=(K1,), allowed: int = 0, run: str = "x") -> str:
    """Assert that a set is refused and nothing is written; return why."""
    before = path.read_bytes()
    with pytest.raises(CohortError, match="nothing was revealed") as found:
        Ledger(path).note(keys, reveal(banks, run, 99), set_changes=allowed)
    assert path.read_bytes() == before
    return str(found.value)


# What a set costs


def test_the_first_set_and_the_same_one_again_are_free(path: Path) -> None:
    note(path, ["abcd"] * 3)
    note(path, ["abcd"], run="another run")
    size = path.stat().st_size
    note(path, ["abcd"] * 3)
    assert path.stat().st_size == size, "what is noted is not written again"
    assert Ledger(path).summary().keys_by_changes == {0: 1}


@pytest.mark.parametrize("run", ["r", "another run"])
@pytest.mark.parametrize("other", ["abc", "abcde", "abce", "ae"])
def test_another_set_is_refused_whatever_the_run_coming_in_like_leaving(
    path: Path, other: str, run: str
) -> None:
    note(path, ["abcd"])
    why = refused(path, other, run=run)
    assert "set_changes = 0" in why


def test_the_refusal_says_who_is_missing_and_who_came_in(path: Path) -> None:
    note(path, ["abcd"])
    assert "without c, d and with e besides" in refused(path, "abe")


def test_with_and_without_a_bank_costs_at_each_turn(path: Path) -> None:
    sets = ["abcd", "abc", "abcd", "abc"]
    for allowed in range(3):
        other = path.with_name(f"allows-{allowed}")
        Ledger.create(other)
        with pytest.raises(CohortError):
            note(other, sets, allowed=allowed)
        assert len(Ledger(other).account(K1).reveals) == allowed + 1
    note(path, sets, allowed=3)
    assert Ledger(path).account(K1).changes == 3


def test_a_set_that_continues_its_run_costs_nothing_more(path: Path) -> None:
    """Between two generations a bank was let in that nobody could sum with: all is as before."""
    note(path, ["abcd", "abc", "abc", "abc"], allowed=1)
    assert Ledger(path).account(K1).changes == 1
    # In another run it is a set unlike an earlier one.
    refused(path, "abc", allowed=1)


def test_a_run_whose_generation_is_told_otherwise_is_another_set(path: Path) -> None:
    note(path, ["abcd"])
    with pytest.raises(CohortError):
        Ledger(path).note((K1,), reveal("abc", "r", 0), set_changes=0)


def test_a_bank_under_the_same_name_with_another_key_is_another_bank(path: Path) -> None:
    note(path, ["abcd"])
    same = reveal("abcd")
    members = (*same.members[:3], Member(name="d", signing_key="9" * 64))
    with pytest.raises(CohortError, match="without d and with d besides"):
        Ledger(path).note(
            (K1,), same.model_copy(update={"members": members, "run_id": "s"}), set_changes=0
        )


def test_one_key_of_many_is_enough_to_refuse(path: Path) -> None:
    note(path, ["abcd"], keys=(K1,))
    refused(path, "abc", keys=(K2, K1))
    # Nothing of it was noted on the other key.
    note(path, ["abc"], keys=(K2,))


def test_asking_notes_nothing(path: Path) -> None:
    ledger = Ledger(path)
    assert ledger.refusal((K1,), reveal("abcd"), set_changes=0) is None
    assert ledger.refusal((K1,), reveal("abc"), set_changes=0) is None
    assert Ledger(path).summary().sets == 0


def test_a_lower_rule_counts_what_was_used_before(path: Path) -> None:
    note(path, ["abcd", "abc", "abcd"], allowed=5)
    refused(path, "abc", allowed=2)
    note(path, ["abc"], allowed=3, run="later")


def test_a_colluder_that_leaves_with_its_victim_hides_nothing(path: Path) -> None:
    """The colluder knows its own part: U - d - m tells it what U - d does."""
    note(path, ["abdm"])
    refused(path, "ab")


TRIANGLE = ["ij", "jd", "id"]


def test_a_triangle_of_pairs_is_refused_at_its_second_side(path: Path) -> None:
    assert isolated(frozenset(map(tuple, TRIANGLE))) == ("d", "i", "j")
    note(path, TRIANGLE[:1])
    for side in TRIANGLE[1:]:
        refused(path, side)


def by_size(account: Account, new: Reveal) -> int:
    """Price only sets that differ by one bank, which seems enough."""
    return int(any(len(set(one.members) ^ set(new.members)) == 1 for one in account.reveals))


def test_control_a_rule_by_the_size_of_differences_lets_the_triangle_through(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Account, "price", by_size)
    note(path, TRIANGLE)
    assert Ledger(path).summary().sets == 3


def test_control_without_the_rule_every_set_is_revealed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Account, "price", lambda *_: 0)
    note(path, ["abcd", "abc", "ab"])
    assert Ledger(path).summary().sets == 3


BANKS = st.sets(st.sampled_from("abcde"), min_size=2).map(lambda one: "".join(sorted(one)))
ASKED = st.tuples(
    BANKS,
    st.sampled_from(("r", "s")),
    st.integers(0, 3),
    st.sets(st.sampled_from((K1, K2)), min_size=1),
)


@given(asked=st.lists(ASKED, max_size=14), allowed=st.integers(0, 3), data=st.data())
def test_no_order_of_sets_runs_and_keys_reveals_more_than_is_allowed(
    tmp_path_factory: pytest.TempPathFactory, asked, allowed: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    Ledger.create(path)
    ledger = Ledger(path)
    truth: dict[str, list[Reveal]] = {K1: [], K2: []}
    for banks, run, generation, keys in asked:
        if data.draw(st.booleans(), label="started again"):
            ledger = Ledger(path)
        new = reveal(banks, run, generation)
        may = ledger.refusal(tuple(keys), new, set_changes=allowed) is None
        try:
            ledger.note(tuple(keys), new, set_changes=allowed)
        except CohortError:
            assert not may
            continue
        assert may
        for key in keys:
            if new not in truth[key]:
                truth[key].append(new)
    for key, revealed in truth.items():
        assert list(Ledger(path).account(key).reveals) == revealed
        assert changes_of(revealed) == Ledger(path).account(key).changes <= allowed
        if allowed == 0:
            sets = frozenset(tuple(one.name for one in each.members) for each in revealed)
            assert len(sets) <= 1
            assert isolated(sets) == ()


# Keys


def test_keys_are_of_this_ledger_and_tell_nothing(path: Path, tmp_path: Path) -> None:
    mine, other = Ledger(path), ledger_at(tmp_path / "other")
    assert mine.key("rows", b"x") == Ledger(path).key("rows", b"x")
    found = {
        mine.key("rows", b"x"),
        mine.key("rows", b"y"),
        mine.key("rows", b"x", b""),
        mine.key("column", b"x"),
        other.key("rows", b"x"),
    }
    assert len(found) == 5


def test_a_reveal_names_the_banks_of_the_roster_in_order() -> None:
    roster = [MemberKeys(name=n, signing_key=n * 64, agreement_key="0" * 64) for n in "cba"]
    found = Reveal.of("r", 1, ("c", "a"), roster)
    assert [one.name for one in found.members] == ["a", "c"]


def test_it_cannot_be_pickled_and_shows_no_secret(path: Path) -> None:
    ledger = Ledger(path)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(ledger)
    secret = path.read_bytes()[-64:-32]
    assert secret.hex() not in repr(ledger)


# The file


def test_a_missing_ledger_is_never_made_anew(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"ledger is missing; .*restore the very newest copy"):
        Ledger(tmp_path / "ledger")
    assert not (tmp_path / "ledger").exists()


def test_an_existing_ledger_is_not_replaced(path: Path) -> None:
    note(path, ["abcd"])
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Ledger.create(path)
    assert path.read_bytes() == before


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    Ledger.create(path)
    note(path, ["abcd", "abcd"])
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(StateError):
        Ledger(path)


def test_a_record_that_a_crash_cut_off_counts_for_nothing_and_all_others_do(path: Path) -> None:
    note(path, ["abcd"])
    whole = path.read_bytes()
    note(path, ["abcd"], run="s")
    longer = path.read_bytes()
    for end in range(len(whole), len(longer)):
        path.write_bytes(longer[:end])
        assert not Ledger(path).knows("s")
        refused(path, "abc")
    # It is written over.
    note(path, ["abcd"], run="s")
    assert path.read_bytes() == longer


@pytest.mark.parametrize("end", [0, 5, 30])
def test_without_its_first_record_it_is_damaged(path: Path, end: int) -> None:
    note(path, ["abcd"])
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(StateError, match="damaged"):
        Ledger(path)


def pack(kind: int, content: bytes) -> bytes:
    return ledger_module._RECORD.pack(bytes([kind]), content)


@pytest.mark.parametrize(
    "records",
    [
        [(2, b"{}")],
        [(1, b"short")],
        [(1, bytes(32)), (1, bytes(32))],
        [(1, bytes(32)), (2, b"{}")],
        [(1, bytes(32)), (3, b"")],
        [(1, bytes(32)), (2, b'{"keys":[],"reveal":{"run_id":"r","generation":0,"members":[]}}')],
    ],
    ids=["no secret", "short secret", "two secrets", "no note", "unknown kind", "no key"],
)
def test_what_the_program_never_writes_is_refused(tmp_path: Path, records) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"".join(pack(kind, content) for kind, content in records))
    with pytest.raises(StateError, match="damaged"):
        Ledger(path)


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    path.write_bytes(b"FFOB" + path.read_bytes()[8:])
    with pytest.raises(StateError, match="damaged or foreign"):
        Ledger(path)


def test_another_programs_note_is_never_written_over(path: Path) -> None:
    mine, other = Ledger(path), Ledger(path)
    other.note((K1,), reveal("abcd"), set_changes=0)
    whole = path.read_bytes()
    with pytest.raises(StateError, match="another program changed it"):
        mine.note((K1,), reveal("abc"), set_changes=0)
    assert path.read_bytes() == whole


def test_what_cannot_be_written_may_not_be_revealed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path)

    def full(*_: object, **__: object) -> None:
        raise StateError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(ledger_file, "append_whole", full)
        with pytest.raises(StateError, match="no space"):
            ledger.note((K1,), reveal("abcd"), set_changes=0)
    ledger.note((K1,), reveal("abc"), set_changes=0)
    assert Ledger(path).account(K1).reveals == (reveal("abc"),)
