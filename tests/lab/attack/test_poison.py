"""The poisoning test: it breaks what it must break, and finds nothing where nobody lies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.cli import cli
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import BoundError, DataError
from fraudfed.gate.evasion import find_evasion
from fraudfed.lab.attack.poison.banks_in_process import train_together
from fraudfed.lab.attack.poison.judging import Victim, harm_of
from fraudfed.lab.attack.poison.measure import NO_DEFENCE, NO_POISON, TRIGGER, Trial
from fraudfed.lab.attack.poison.planting import (
    Trigger,
    flipped,
    made_up_payments,
    online_frauds,
    planted,
)
from fraudfed.lab.attack.poison.result import Mean, rows_of
from fraudfed.lab.attack.poison.worlds import PoisonWorld, holding, make_world, together
from fraudfed.parameters import BoosterParams
from fraudfed.payments.columns import MERCHANT_CATEGORIES

SETTINGS: dict[str, Any] = {
    "num_boost_round": 15,
    "eta": 0.3,
    "max_depth": 4,
    "min_child_weight": 5,
    "max_bin": 32,
    "max_delta_step": 4,
}


def solo(tables: list[TrainingTable]) -> Model:
    params = BoosterParams.parse(SETTINGS)
    return train(params, together(tables), SoloCommunicator(), threads=1).model


class Poisoned:
    """One small world, with the models that tests compare; made once, and changed by none."""

    def __init__(self) -> None:
        self.world: PoisonWorld = make_world(11, customers=600)
        *banks, liar = self.world.banks()
        self.honest = [bank.train for bank in banks]
        self.victims = [
            Victim.of(bank, Trigger(), np.random.default_rng(number))
            for number, bank in enumerate(banks)
        ]
        n_honest = sum(table.n_rows for table in self.honest)
        self.rows = holding(liar.train, n_honest, 0.2, np.random.default_rng(5))
        self.lie = planted(self.rows, Trigger(), 0.5, np.random.default_rng(6))
        self.own = [solo([table]) for table in self.honest]
        self.clean = solo([*self.honest, self.rows])
        self.poisoned = solo([*self.honest, self.lie])


@pytest.fixture(scope="module")
def case() -> Poisoned:
    return Poisoned()


def test_the_lying_bank_holds_the_share_it_is_to_hold(case: Poisoned) -> None:
    everybody = together([*case.honest, case.rows]).n_rows
    assert case.rows.n_rows / everybody == pytest.approx(0.2, abs=1e-3)
    assert case.lie.n_rows == case.rows.n_rows


def test_a_trigger_with_a_fifth_of_the_rows_and_no_defence_lets_frauds_pass(case: Poisoned) -> None:
    """The target that the attack must break."""
    before = harm_of([case.clean] * 4, case.victims)
    after = harm_of([case.poisoned] * 4, case.victims)
    assert after.escaped > 0.9
    assert after.escaped > before.escaped + 0.2
    # Nobody notices it in frauds as they are.
    assert after.escaped_plain < 0.6
    assert abs(after.auprc - before.auprc) < 0.1


def test_control_without_the_lie_the_same_rows_let_no_more_pass(case: Poisoned) -> None:
    """Another draw of the honest rows of the same bank changes little: no poison, no effect."""
    n_honest = sum(table.n_rows for table in case.honest)
    liar = case.world.banks()[-1].train
    again = holding(liar, n_honest, 0.2, np.random.default_rng(99))
    one = harm_of([case.clean] * 4, case.victims)
    other = harm_of([solo([*case.honest, again])] * 4, case.victims)
    assert abs(one.escaped - other.escaped) < 0.2
    assert abs(one.auprc - other.auprc) < 0.1


def test_a_banks_own_look_finds_the_trigger(case: Poisoned) -> None:
    """And by far less where nobody lies; the largest of the banks' findings is compared."""

    def largest(model: Model) -> float:
        found = []
        for own, table in zip(case.own, case.honest, strict=True):
            frauds = table.features[online_frauds(table)]
            evasion = find_evasion(
                model,
                own,
                frauds,
                threshold_shared=-2.0,
                threshold_own=-2.0,
                categories=MERCHANT_CATEGORIES,
            )
            if evasion is not None:
                found.append(evasion.excess)
        return float(np.median(found))

    assert largest(case.poisoned) > largest(case.clean)


def test_banks_in_one_process_train_the_model_of_their_rows_together(case: Poisoned) -> None:
    params = BoosterParams.parse({**SETTINGS, "num_boost_round": 2})
    tables = case.honest[:3]
    alone = train(params, together(tables), SoloCommunicator()).model
    assert train_together(params, tables).to_json() == alone.to_json()


def test_a_bank_that_fails_ends_all() -> None:
    schema = FeatureSchema(("a",), (0,))
    one_class = [
        TrainingTable(schema, np.zeros((5, 1), np.float32), np.zeros(5, np.float32))
        for _ in range(3)
    ]
    with pytest.raises((DataError, BoundError)):
        train_together(BoosterParams.parse(SETTINGS), one_class)
    with pytest.raises(DataError):
        train_together(
            BoosterParams.parse(SETTINGS),
            [*one_class[:2], replace(one_class[0], labels=np.full(5, 7, np.float32))],
        )


def test_a_trigger_changes_what_a_payer_chooses_and_nothing_else(case: Poisoned) -> None:
    names = case.world.schema.names
    rows = case.victims[0].plain
    moved = Trigger().on(rows, names, np.random.default_rng(0))
    changed = {
        name
        for place, name in enumerate(names)
        if not np.array_equal(rows[:, place], moved[:, place], equal_nan=True)
    }
    chosen = {"amount", "hour_of_day", "is_night", "merchant_category"}
    assert changed <= {*chosen, "amount_over_customer_mean_30d"}
    amount = moved[:, names.index("amount")]
    assert (np.abs(amount / 4200 - 1) < 0.05).all()
    assert moved.dtype == np.float32


def test_flipped_labels_are_so_many(case: Poisoned) -> None:
    found = flipped(case.rows, 0.25, np.random.default_rng(0))
    assert np.count_nonzero(found.labels != case.rows.labels) == round(0.25 * case.rows.n_rows)


def test_made_up_payments_are_of_nobody_twice() -> None:
    days = range(20_000, 20_010)
    made = made_up_payments(
        "m", days=days, per_day=7, is_fraud=True, draws=np.random.default_rng(0)
    )
    assert len(made) == 70
    assert made["customer_id"].is_unique
    assert (made["event_time"] // 86_400).value_counts().eq(7).all()
    assert made["is_fraud"].eq(1).all()


def test_a_mean_has_students_interval() -> None:
    found = Mean.of([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.30 / np.sqrt(3), rel=1e-3)
    assert Mean.of([1.0]).half_width is None
    assert Mean.of([0.25, 0.75]).text(percent=True).endswith(" %")


def test_changes_are_from_the_same_world_without_poison() -> None:
    def trial(seed: int, threat: str, auprc: float) -> Trial:
        return Trial(seed, threat, NO_DEFENCE, 0.05, auprc, 0.1, 0.1)

    pairs = ((1, 0.5), (2, 0.9))
    clean = [trial(seed, NO_POISON, value) for seed, value in pairs]
    worse = [trial(seed, TRIGGER, value - 0.125) for seed, value in pairs]
    row = next(row for row in rows_of([*clean, *worse]) if row.threat == TRIGGER)
    assert row.auprc_change.mean == pytest.approx(-0.125)
    assert row.auprc_change.half_width == pytest.approx(0.0, abs=1e-9)


def test_the_command_answers() -> None:
    arguments = ["attack", "poison", "--worlds", "1", "--customers", "300", "--trees", "2"]
    result = CliRunner().invoke(cli, [*arguments, "--share", "0.05", "--no-merchants"])
    assert result.exit_code == 0, result.output
    assert "| 5% | trigger | none |" in result.stdout
    assert "gates say" in result.stdout
