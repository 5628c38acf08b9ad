"""Options of windows become the fields of a contract, and nothing that was not given."""

from typing import Any

import click
from click.testing import CliRunner

from aggregator.commands.creating.window_options import (
    contract_windows,
    taken_windows,
    window_options,
)
from fraudfed.wire.messages import DataContract, LabelHorizon

#: date -u -d 2026-04-30 +%s, and days later.
APRIL, JUNE, JULY = 1_777_507_200, 1_777_507_200 + 46 * 86_400, 1_777_507_200 + 92 * 86_400


def fields(*options: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @click.command()
    @window_options
    @click.option("--other")
    def command(**options: Any) -> None:
        found.update(contract_windows(taken_windows(options)))
        assert options == {"other": None}

    ended = CliRunner().invoke(command, options, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return found


def test_every_option_is_a_field_of_the_contract() -> None:
    given = fields(
        *("--train-from", "2025-01-01", "--train-until", "2026-04-30", "--gap-days", "3"),
        *("--select-until", "2026-06-15", "--judge-until", "2026-07-31"),
        *("--label-horizon-days", "20", "--label-horizon", "transfer=40"),
        *("--label-horizon", "atm=7", "--risk-delay-days", "2", "--publication-lag-days", "0"),
        "--exclude-known-compromised",
    )
    assert given == {
        "train_from": 1_735_689_600,
        "train_until": APRIL,
        "select_until": JUNE,
        "judge_until": JULY,
        "gap_days": 3,
        "label_horizon_days": LabelHorizon(days=20, by_channel={"transfer": 40, "atm": 7}),
        "risk_delay_days": 2,
        "risk_publication_lag_days": 0,
        "exclude_known_compromised": True,
    }
    contract = DataContract(
        kind="transactions", recipe="r-1", features=({"name": "amount"},), **given
    )
    assert contract.select_from == APRIL + 3 * 86_400
    assert contract.judge_from == JUNE + 3 * 86_400
    assert contract.last_cutoff == JULY
    assert contract.label_horizon_days.text == "20 days (atm 7, transfer 40)"


def test_what_is_not_given_has_the_default_of_the_contract() -> None:
    assert fields() == {"label_horizon_days": LabelHorizon()}
    assert fields("--train-until", "2026-04-30") == {
        "train_until": APRIL,
        "label_horizon_days": LabelHorizon(),
    }


def test_a_window_of_one_channel_is_room_enough() -> None:
    """What the options accept the contract accepts: cards are judged, transfers are not."""
    given = fields(
        *("--train-until", "2026-04-30", "--judge-until", "2026-06-15"),
        *("--label-horizon", "transfer=395"),
    )
    contract = DataContract(
        kind="transactions", recipe="r-1", features=({"name": "amount"},), **given
    )
    assert contract.label_horizon_days.least_days == 30
