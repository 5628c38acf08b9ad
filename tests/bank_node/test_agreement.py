"""The last agreement on disk: what survives, what is forgotten, and what is refused."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from bank_node.state.agreement import Agreement, Agreements
from bank_node.vault.key_sources import KeySource
from bank_node.vault.vault import PlainVault, SealedVault
from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.errors import KeyMaterialError, StateError

BANKS = ("a", "b", "c")


def agreement(generation: int = 0, **changes: object) -> Agreement:
    made = Agreement(
        generation=generation,
        banks=BANKS,
        step=2 * generation,
        more_rows=64,
        local_sha256="1" * 64,
        key=EphemeralKey.generate(b"test"),
        signature="2" * 128,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def opened(path: Path, **changes: str) -> Agreements:
    names = {"run_id": "r", "bank": "a", **changes}
    return Agreements(path, vault=PlainVault(), **names)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agreement"


def same(one: Agreement | None, two: Agreement) -> bool:
    """Tell whether two are equal; keys are compared by their public halves."""
    assert one is not None
    keys = [each.key.public if each.key else None for each in (one, two)]
    return keys[0] == keys[1] and replace(one, key=None) == replace(two, key=None)


def test_what_was_agreed_to_is_there_after_a_new_start(path: Path) -> None:
    fresh = opened(path)
    assert (fresh.last, fresh.asked) == (None, None)
    said = agreement(earlier=(("a", "b"),))
    fresh.agree(said)
    assert same(opened(path).last, said)
    _, key = opened(path).of(0)
    assert said.key is not None
    assert key.expose_secret() == said.key.expose_secret()
    keys = (("a", "1" * 64), ("b", "2" * 64), ("c", "3" * 64))
    fresh.begin(keys)
    assert same(opened(path).last, replace(said, keys=keys))
    fresh.ask(1)
    assert opened(path).asked == 1
    assert same(opened(path).last, replace(said, keys=keys))
    assert path.stat().st_mode & 0o077 == 0


def test_an_agreement_takes_the_place_of_the_one_before(path: Path) -> None:
    agreements = opened(path)
    first, second = agreement(0), agreement(3)
    agreements.agree(first)
    assert first.key is not None
    assert first.key.expose_secret().hex().encode() in path.read_bytes()
    agreements.agree(second)
    assert first.key.expose_secret().hex().encode() not in path.read_bytes()
    for number in (0, 1, 4):
        with pytest.raises(StateError, match="agreed to generation 3 last"):
            agreements.of(number)
    for number in (0, 3):
        with pytest.raises(ValueError, match="after one to generation 3"):
            agreements.agree(agreement(number))
    assert same(opened(path).last, second)


def test_the_end_erases_the_key_and_remembers_the_number(path: Path) -> None:
    agreements = opened(path)
    agreements.end()
    assert not path.exists()
    with pytest.raises(StateError, match="agreed to no generation last"):
        agreements.of(0)
    with pytest.raises(ValueError, match="no generation"):
        agreements.begin(())
    said = agreement(2)
    agreements.agree(said)
    agreements.end()
    assert said.key is not None
    assert said.key.expose_secret().hex().encode() not in path.read_bytes()
    for each in (agreements, opened(path)):
        with pytest.raises(StateError, match="ended its part in generation 2"):
            each.of(2)
        with pytest.raises(ValueError, match="after one to generation 2"):
            each.agree(agreement(2))
    # It may agree to a later one, which makes another key.
    opened(path).agree(agreement(3))


def test_a_bank_may_ask_before_it_ever_agreed(path: Path) -> None:
    opened(path).ask(0)
    again = opened(path)
    assert (again.asked, again.last) == (0, None)
    again.agree(agreement(1))
    assert opened(path).asked == 0


@pytest.mark.parametrize("bank", ["run_id", "bank"])
def test_a_foreign_agreement_is_refused(path: Path, bank: str) -> None:
    opened(path).agree(agreement())
    with pytest.raises(StateError, match="foreign"):
        opened(path, **{bank: "other"})


def test_a_damaged_agreement_is_refused_and_shows_nothing(path: Path) -> None:
    said = agreement()
    opened(path).agree(said)
    whole = path.read_bytes()
    assert said.key is not None
    secret = said.key.expose_secret().hex()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StateError) as failure:
            opened(path)
        assert secret[:16] not in str(failure.value)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(StateError):
            opened(path)


def test_what_a_killed_program_left_behind_is_removed(path: Path) -> None:
    said = agreement()
    opened(path).agree(said)
    leftover = path.parent / f".{path.name}.ab12_xyz"
    leftover.write_bytes(b"half a file with a key")
    assert same(opened(path).last, said)
    assert not leftover.exists()


def test_where_nothing_can_be_written_nothing_is_agreed_to(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreements = opened(path)
    agreements.agree(agreement(0))

    def full(*_: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr("bank_node.state.agreement.write_atomic", full)
    for change in (
        lambda: agreements.agree(agreement(1)),
        lambda: agreements.ask(1),
        agreements.end,
    ):
        with pytest.raises(StateError, match="full"):
            change()
    assert agreements.last is not None
    assert (agreements.last.generation, agreements.asked) == (0, None)
    assert agreements.of(0)[1] is agreements.last.key


def test_no_key_is_printed_or_pickled() -> None:
    said = agreement()
    assert said.key is not None
    assert said.key.expose_secret().hex() not in repr(said)
    with pytest.raises(TypeError):
        pickle.dumps(said)


def test_an_agreement_is_sealed_where_there_is_a_vault(path: Path) -> None:
    vault = SealedVault(bytes(range(32)), source=KeySource.PASSPHRASE)
    sealed = Agreements(path, run_id="r", bank="a", vault=vault)
    said = agreement()
    sealed.agree(said)
    assert said.key is not None
    data = path.read_bytes()
    assert said.key.public.encode() not in data
    assert said.key.expose_secret().hex().encode() not in data
    assert same(Agreements(path, run_id="r", bank="a", vault=vault).last, said)
    with pytest.raises(KeyMaterialError):
        opened(path)
