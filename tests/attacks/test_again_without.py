"""A finished training again without a bank: what the two runs, and the two models, show of it.

``aggregator runs create --like RUN --without BANK`` is a change of set, asked for on purpose. A
member of both runs subtracts the sums that it opened; one that has the two models alone, as the
aggregator may have, subtracts what their roots say. The bank left out is called d.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attack_kit.two_sets import BANKS, VICTIM, Consortium, Curious
from examples.ledgers import reveal
from oracles.features import random_table
from oracles.shared_risk import FIRST_DAY, risk_spec, solo_tables

from bank_node.data.source_keys import row_keys
from fraudfed.boosting.model import Model
from fraudfed.boosting.train import train
from fraudfed.dtypes import Int64Array
from fraudfed.errors import CohortError
from fraudfed.parameters import BoosterParams

OTHERS = BANKS.replace("d", "")
#: Each of the twenty values of a column is a bin of its own, so both runs have the same ranges.
PARAMETERS = {"num_boost_round": 2, "max_depth": 2, "max_bin": 32, "eta": 0.3}
N_VALUES = 20
_FIXED_POINT = 2.0**32
_RISK = risk_spec(first_day=FIRST_DAY, last_day=FIRST_DAY + 9, transaction_width=64, fraud_width=64)


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


def trained(consortium: Consortium, banks: str) -> tuple[Model, Int64Array]:
    """Return the model, and the histogram of the first root as every member opens it."""
    curious = Curious()
    table = consortium.table([BANKS.index(name) for name in banks])
    model = train(BoosterParams.parse(PARAMETERS), table, curious).model
    return model, curious.roots[0]


def base_of(model: Model) -> float:
    """Return the share of fraud that a model begins at: it stands in its file."""
    document = json.loads(model.to_json())
    return float(document["learner"]["learner_model_param"]["base_score"].strip("[]"))


def rows_and_frauds(model: Model, root: Int64Array) -> Int64Array:
    """Read rows and frauds of each bin: each row entered ``p - y`` and ``p (1 - p)``."""
    share = base_of(model)
    gradients, hessians = root / _FIXED_POINT
    rows = np.rint(hessians / (share * (1 - share)))
    frauds = np.rint(rows * share - gradients)
    return np.stack([rows, frauds])[:, : 2 * N_VALUES].astype(np.int64)


def test_again_without_a_bank_is_refused_by_an_honest_ledger(consortium: Consortium) -> None:
    for number, banks in enumerate((BANKS, OTHERS)):
        keys = row_keys(consortium.files[0], consortium.ledger)
        shown = reveal(banks, run_id=f"run {number}")
        if number:
            with pytest.raises(CohortError, match="without d compared"):
                consortium.ledger.note(keys, shown, set_changes=0)
        else:
            consortium.ledger.note(keys, shown, set_changes=0)


def test_control_two_runs_show_rows_and_frauds_of_the_bank_left_out(
    consortium: Consortium,
) -> None:
    """Of every value of every column, exactly, where the others' ledgers allow both runs."""
    read = rows_and_frauds(*trained(consortium, BANKS)) - rows_and_frauds(
        *trained(consortium, OTHERS)
    )
    table = consortium.table([VICTIM])
    truth = np.concatenate(
        [
            [
                np.bincount(table.features[:, column].astype(int), weights, N_VALUES)
                for weights in (np.ones(table.labels.size), table.labels)
            ]
            for column in range(2)
        ],
        axis=1,
    )
    assert truth.sum() > 0
    np.testing.assert_array_equal(read, truth.astype(np.int64))


def test_control_two_models_alone_show_about_how_many_rows_and_frauds_it_had(
    consortium: Consortium,
) -> None:
    """Less sharply: sums in a model's file are rounded (``statistics_bits``)."""
    found = []
    for banks in (BANKS, OTHERS):
        model, _ = trained(consortium, banks)
        document = json.loads(model.to_json())
        trees = document["learner"]["gradient_booster"]["model"]["trees"]
        share = base_of(model)
        rows = trees[0]["sum_hessian"][0] / (share * (1 - share))
        found.append((rows, rows * share))
    read = np.subtract(*found)
    table = consortium.table([VICTIM])
    truth = np.array([table.labels.size, table.labels.sum()])
    np.testing.assert_allclose(read, truth, rtol=0.15)
    assert not np.array_equal(np.rint(read), truth)


def test_control_two_risk_runs_show_the_tables_of_the_bank_left_out() -> None:
    """Counter by counter: the sums are linear, so what is left is what d alone would publish."""
    parts = [random_table(np.random.default_rng(place), 80, days=8) for place in range(3)]
    everybody, without = (solo_tables(pd.concat(some), _RISK) for some in (parts, parts[:2]))
    alone = solo_tables(parts[2], _RISK)
    assert any(day.transactions.any() for day in alone.days)
    for with_it, less, truth in zip(everybody.days, without.days, alone.days, strict=True):
        for kind in ("transactions", "frauds"):
            read = getattr(with_it, kind).astype(np.int64) - getattr(less, kind)
            np.testing.assert_array_equal(read, getattr(truth, kind))
