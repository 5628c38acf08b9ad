"""What alerts are worth: a loop over payments with a cost matrix is the oracle."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.data.costs_file import read_costs
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.evaluation.net_benefit import ChannelCosts, Costs, benefit_of, net_benefit
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.payments.columns import CHANNELS
from fraudfed.wire.messages import Currency, DataContract, FeatureSpec

COSTS = Costs(
    currency="GBP",
    cost_per_alert=Decimal("4.50"),
    friction=Decimal(12),
    recovery=Decimal("0.1"),
    channels={"transfer": ChannelCosts(loss_share=Decimal("0.5"), friction=Decimal(30))},
)


def outcomes(seed: int, n_rows: int = 200) -> Outcomes:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 0, 0, 1, np.nan], n_rows).astype(np.float32)
    return Outcomes(
        labels=labels,
        is_blocked=np.isnan(labels),
        amounts=rng.integers(0, 100_000, n_rows),
        cells={"channel": rng.integers(-1, len(CHANNELS), n_rows)},
    )


def worth(row: int, of: Outcomes, *, label: float) -> float:
    """Return what an alert on one payment is worth, from the matrix of costs."""
    assert of.amounts is not None
    is_transfer = of.cells["channel"][row] == CHANNELS.index("transfer")
    share, friction = (0.5, 30.0) if is_transfer else (1.0, 12.0)
    missed = of.amounts[row] / 100 * 0.9 * share
    # Rows of the matrix: cost with an alert, and without.
    alerted, let_pass = (4.5, missed) if label == 1 else (4.5 + friction, 0.0)
    return let_pass - alerted


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), alerts=st.integers(0, 200))
def test_benefit_is_the_sum_over_the_cost_matrix(seed: int, alerts: int) -> None:
    of = outcomes(seed)
    scores = np.random.default_rng(seed).integers(0, 50, of.n_rows).astype(np.float32)
    found = net_benefit(scores, of, COSTS, alerts)
    known = ~of.is_censored
    chosen = [t for t in np.unique(scores[known]) if np.count_nonzero(scores[known] >= t) <= alerts]
    rows = np.flatnonzero(scores >= min(chosen, default=np.inf))
    values = [worth(row, of, label=of.labels[row]) for row in rows if known[row]]
    assert found.net == pytest.approx(sum(values), abs=1e-6)
    censored = [row for row in rows if not known[row]]
    for end, label in ((found.net_low, 0.0), (found.net_high, 1.0)):
        more = sum(worth(row, of, label=label) for row in censored)
        assert end == pytest.approx(sum(values) + more, abs=1e-6)
    assert sum(part.net for part in found.channels) == pytest.approx(found.net, abs=1e-6)
    assert sum(part.alerts for part in found.channels) == len(values)
    assert sum(part.censored for part in found.channels) == len(censored)
    for part in found.channels:
        assert part.prevented - part.alert_costs - part.friction == pytest.approx(part.net)


def test_no_alert_is_worth_nothing_and_payments_need_amounts() -> None:
    of = outcomes(1)
    none = benefit_of(np.zeros(of.n_rows, np.bool_), of, COSTS)
    assert (none.net, none.net_low, none.net_high) == (0, 0, 0)
    plain = Outcomes(labels=of.labels, is_blocked=of.is_blocked)
    with pytest.raises(DataError, match="no amounts"):
        net_benefit(of.labels, plain, COSTS, 10)


def test_amounts_are_in_minor_units_of_the_currency() -> None:
    of = Outcomes(
        labels=np.ones(1, np.float32), is_blocked=np.zeros(1, np.bool_), amounts=np.array([5000])
    )
    for currency, worth_of_it in (("GBP", 50), ("JPY", 5000), ("KWD", 5)):
        costs = Costs(currency=currency, cost_per_alert=Decimal(1), friction=Decimal(0))
        found = benefit_of(np.ones(1, np.bool_), of, costs)
        assert found.net == worth_of_it - 1
        assert [part.channel for part in found.channels] == ["other"]


def contract(**more: object) -> DataContract:
    return DataContract.model_validate(
        {
            "kind": "transactions",
            "recipe": "fraudfed-card",
            "features": [FeatureSpec(name="amount")],
            "currency": Currency(code="GBP"),
            **more,
        }
    )


WHOLE = """
currency = "GBP"
cost_per_alert = 4.50
friction = 12
recovery = 0.1

[channels.transfer]
loss_share = 0.5
friction = 30
"""


def test_a_file_of_costs_is_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "costs.toml"
    path.write_text("\ufeff" + WHOLE)
    assert read_costs(path, contract()) == COSTS
    assert read_costs(path, contract(currency=None)).of("transfer").friction == 30
    assert COSTS.of("pos").model_dump(exclude={"channels"}) == COSTS.model_dump(
        exclude={"channels"}
    )


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("friction = 12", "frictions = 12", "friction is missing (and 1 more)"),
        ("recovery = 0.1", "recovered = 0.1", "recovered is no entry of it"),
        ("recovery = 0.1", "recovery = 1.1", "recovery is 1.1, expected less than or equal to 1"),
        ("4.50", "-4.50", "cost_per_alert is -4.50, expected greater than or equal to 0"),
        ("4.50", "nan", "cost_per_alert is NaN, expected a finite number"),
        ("4.50", "true", "cost_per_alert is True, expected"),
        ("4.50", '"much"', "cost_per_alert is 'much', expected a valid decimal"),
        ("friction = 30", "friction = -1", "channels.transfer.friction is -1, expected greater"),
        ("channels.transfer", "channels.cheque", "channels.cheque is no channel: 'pos', 'ecomm"),
        ('"GBP"', '"gbp"', "currency is 'gbp', expected a code of ISO 4217"),
        ('"GBP"', '"EUR"', "currency is 'EUR', expected that of the run's amounts, 'GBP'"),
        ("friction = 12", "friction =", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, fault: str
) -> None:
    path = tmp_path / "costs.toml"
    path.write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        read_costs(path, contract())
    assert fault in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_costs_are_refused_where_there_are_no_amounts_or_no_file(tmp_path: Path) -> None:
    path = tmp_path / "costs.toml"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_costs(path, contract())
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_costs(path, contract())
    path.write_text(WHOLE)
    table = contract(kind="table", recipe=None, currency=None)
    with pytest.raises(ConfigurationError, match="no amounts"):
        read_costs(path, table)
