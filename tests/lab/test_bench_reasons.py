"""``fraudfed bench reasons`` counts what it says, and finds a wrong phrase wrong."""

import numpy as np
import pytest

from data_gen.events import KIND_NAMES
from fraudfed.boosting.table import TrainingTable
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.intake.plain_table import contract_schema
from fraudfed.lab.bench.reasons import measure as measuring
from fraudfed.lab.bench.reasons.causes import PLANTED_CAUSES
from fraudfed.lab.bench.reasons.worlds import WorldRows
from fraudfed.reasons import PHRASES
from fraudfed.wire.messages import DataContract

CONTRACT = DataContract(
    kind="transactions", recipe=RECIPE, features=contract_features(RECIPE, shared=True)
)


@pytest.fixture(scope="module")
def rows() -> WorldRows:
    """Return payments in which a high amount is fraud, and a quick succession another."""
    draws = np.random.default_rng(2)
    names = [spec.name for spec in CONTRACT.features]
    values = draws.uniform(0, 1, (6000, len(names))).astype(np.float32)
    for place, spec in enumerate(CONTRACT.features):
        if spec.categories:
            values[:, place] = draws.integers(0, len(spec.categories), len(values))
    amount, pace = (values[:, names.index(name)] for name in ("amount", "customer_count_1d"))
    kinds = np.full(len(values), "", dtype=object)
    kinds[amount > 0.95] = "push_payment_scam"
    kinds[pace > 0.95] = "lost_stolen"
    labels = (kinds != "").astype(np.float32)
    train = TrainingTable(contract_schema(CONTRACT), values[:4000], labels[:4000])
    return WorldRows(train, values[4000:], kinds[4000:])


def test_planted_causes_are_found_and_others_are_not(
    rows: WorldRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(causes: dict[str, frozenset[str]]) -> dict[str, float]:
        monkeypatch.setattr(measuring, "PLANTED_CAUSES", {RECIPE: causes})
        found = measuring.measure(rows, preset="made", recipe=RECIPE, alert_share=0.05, threads=1)
        assert found.alerts == 100
        assert found.largest_gap < 1e-5
        assert found.distortion.same_first > 0.9
        assert sum(kind.true_alerts for kind in found.by_kind) == found.true_alerts
        assert all(0 < kind.by_chance < 1 for kind in found.by_kind)
        return {kind.kind: kind.named for kind in found.by_kind}

    right = {"push_payment_scam": frozenset({"amount"}), "lost_stolen": frozenset({"pace"})}
    assert min(named(right).values()) > 0.95
    wrong = {kind: frozenset({"device"}) for kind in right}
    assert max(named(wrong).values()) < 0.4


def test_two_drawn_reasons_hit_as_often_as_counting_says() -> None:
    raises = np.array([True, True, True, True, False])
    planted = np.array([True, False, False, False, True])
    # Of six pairs, three hold the one planted phrase that raises the score.
    assert measuring._by_chance(raises, planted) == pytest.approx(0.5)
    assert measuring._by_chance(raises[:1], planted[:1]) == 1.0


def test_causes_are_kinds_and_phrases_that_exist() -> None:
    assert PLANTED_CAUSES[RECIPE].keys() == set(KIND_NAMES)
    assert PLANTED_CAUSES[INBOUND_RECIPE].keys() < set(KIND_NAMES)
    for recipe, causes in PLANTED_CAUSES.items():
        codes = {phrase.code for phrase in PHRASES[recipe]}
        assert all(planted <= codes for planted in causes.values())
