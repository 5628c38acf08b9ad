"""``bank-node privacy ledger``: spent and left, event by event and block by block."""

import json
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

from bank_node.cli import cli
from bank_node.config import BankConfig
from bank_node.run.charges import GenerationCharges
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.identity import Identity
from fraudfed.errors import StateError
from fraudfed.privacy.accounting import epsilon_of, gaussian_epsilon
from fraudfed.privacy.events import Blocks
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit

RELEASE = NoisedRelease(variance=1 << 34, moved=Fraction(1, 50))


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    identity = Identity.generate()
    member = identity.member("bank-a")
    config = BankConfig(
        name="bank-a",
        aggregator="http://127.0.0.1:1",
        signing_key=member.signing_key,
        agreement_key=member.agreement_key,
    )
    return StateDirectory.create(tmp_path / "bank-a", config, identity)


def charge(
    state: StateDirectory, blocks: Blocks, count: int, *, run: str, unit: PrivacyUnit
) -> None:
    terms = PrivacyTerms(epsilon=1, unit=unit, tolerated_colluders=1, declared_rows=1000)
    charges = GenerationCharges(
        state.privacy_ledger(), terms, blocks, run_id=run, number=0, banks=["x", "y", "z"]
    )
    for number in range(count):
        context = f"{run}{number}".encode().hex().zfill(64)
        charges.reserve(context, label=f"bins:{number}", release=RELEASE, n_values=64)
        charges.commit(context)


def answer(state: StateDirectory) -> dict:
    command = ["privacy", "ledger", "--state", str(state.path), "--json"]
    found = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert found.exit_code == 0
    return json.loads(found.stdout)


def test_a_new_bank_has_spent_nothing(state: StateDirectory) -> None:
    found = answer(state)
    assert (found["epsilon"], found["delta"]) == (10.0, 1e-6)
    assert found["blocks"] == found["events"] == []
    shown = CliRunner().invoke(cli, ["privacy", "ledger", "--state", str(state.path)])
    assert "No run with privacy terms has asked for anything yet." in shown.stdout


def test_spent_and_left_are_shown_block_by_block_and_event_by_event(state: StateDirectory) -> None:
    year = Blocks.of_days(date(2025, 1, 1), date(2025, 12, 31))
    later = Blocks.of_days(date(2025, 2, 1), date(2026, 1, 31))
    charge(state, year, 3, run="r1", unit=PrivacyUnit.ROW)
    charge(state, later, 2, run="r2", unit=PrivacyUnit.CUSTOMER)
    found = answer(state)
    assert [one["name"] for one in found["blocks"]] == [
        "2025-01-01 to 2025-01-31",
        "2025-02-01 to 2025-12-31",
        "2026-01-01 to 2026-01-31",
        "customers",
    ]
    assert [one["blocks"] for one in found["blocks"]] == [31, 334, 31, 1]
    for one, number in zip(found["blocks"], (3, 5, 2, 2), strict=True):
        rho = Fraction(number, 100)
        assert one["rho"] == pytest.approx(float(rho))
        assert one["rho"] + one["rho_left"] == pytest.approx(found["rho"])
        assert one["epsilon"] == pytest.approx(epsilon_of(rho, 1e-6), rel=1e-4)
        assert one["gaussian_epsilon"] == pytest.approx(gaussian_epsilon(rho, 1e-6), rel=1e-4)
        assert one["gaussian_epsilon"] < one["epsilon"]
    assert len(found["events"]) == 5
    first = found["events"][0]
    assert first["label"] == "bins:0"
    assert first["state"] == "committed"
    assert first["adjacency"] == "add-or-remove"
    assert (first["first_day"], first["last_day"]) == ("2025-01-01", "2025-12-31")
    assert first["l2_in_sigmas"] == pytest.approx(0.02**0.5)
    assert first["least_sigma"] == 2**17


def test_people_see_sums_of_a_kind_in_one_line_and_what_the_ledger_does_not_say(
    state: StateDirectory,
) -> None:
    blocks = Blocks.of_days(date(2025, 1, 1), date(2025, 12, 31))
    charge(state, blocks, 4, run="r1", unit=PrivacyUnit.ROW)
    command = ["privacy", "ledger", "--state", str(state.path)]
    shown = CliRunner().invoke(cli, command, env={"COLUMNS": "200"}).stdout
    (line,) = [line for line in shown.splitlines() if "r1" in line]
    for part in ("bins", "4", "row", "3, 1 may collude", "2025-01-01 to 2025-12-31", "committed"):
        assert part in line
    assert "not of a customer" in shown
    assert "Runs without privacy terms are not in this ledger" in shown


def test_neither_a_run_directory_nor_a_checkpoint_holds_what_is_spent(
    state: StateDirectory,
) -> None:
    blocks = Blocks.of_days(date(2025, 1, 1), date(2025, 12, 31))
    charge(state, blocks, 4, run="r1", unit=PrivacyUnit.ROW)
    before = answer(state)
    directory = state.run_directory("r1")
    assert not directory.exists() or not any(directory.iterdir())
    assert answer(StateDirectory(state.path)) == before


def test_a_directory_of_an_earlier_release_gets_one_ledger_and_never_another(
    state: StateDirectory,
) -> None:
    path = state.path / "privacy.ledger"
    path.unlink()
    state.save_config(state.config.model_copy(update={"privacy_ledger": None}))
    assert answer(state)["blocks"] == []
    mark = StateDirectory(state.path).config.privacy_ledger
    assert mark is not None
    path.unlink()
    with pytest.raises(StateError, match="the privacy ledger is missing"):
        StateDirectory(state.path).privacy_ledger()
    assert not path.exists()


def test_a_budget_of_the_banks_own_counts(state: StateDirectory) -> None:
    text = (state.path / "bank.toml").read_text()
    assert "[privacy]" in text
    lower = text.replace("epsilon = 10.0", "epsilon = 0.5")
    (state.path / "bank.toml").write_text(lower)
    found = answer(StateDirectory(state.path))
    assert found["epsilon"] == 0.5
    (state.path / "bank.toml").write_text(text.replace("epsilon = 10.0", "epsilon = 40.0"))
    with pytest.raises(StateError, match="the tails of 4096 runs take more than all of it"):
        StateDirectory(state.path)
