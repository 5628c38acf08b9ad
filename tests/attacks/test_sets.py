"""A curious member that subtracts sums of two sets of banks, of different steps or runs.

Nobody deviates from the protocol: the member looks at the sums that it opens anyway, and an
operator chose parameters under which all steps sum the same. Whether a set is summed at all is
decided by the ledger of an honest bank; the sums are made as one machine would, over pooled rows.
"""

from pathlib import Path

import numpy as np
import pytest
from attack_kit.two_sets import BANKS, CONTRACT, Consortium
from examples.ledgers import reveal

from bank_node.data.digest import data_digest
from bank_node.data.source_keys import row_keys
from fraudfed.errors import CohortError
from fraudfed.wire.messages import DataContract


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


def test_sums_of_different_steps_are_not_made_with_another_set(consortium: Consortium) -> None:
    with pytest.raises(CohortError, match="without d compared"):
        consortium.attack(set_changes=0)
    assert consortium.ledger.summary().sets == 1


def test_control_with_an_allowance_sums_of_different_steps_show_a_bank(
    consortium: Consortium,
) -> None:
    """Every bin of every feature, gradients and hessians, of the bank that left."""
    read = consortium.attack(set_changes=1)
    prepared, _ = consortium.sums(BANKS, None)
    first, _ = consortium.sums(BANKS, prepared)
    _, (truth,) = consortium.sums("d", first.regrouped(more_rows=0))
    assert np.any(truth)
    np.testing.assert_array_equal(read, truth)


EDITED = {
    "other order": CONTRACT.model_copy(update={"features": CONTRACT.features[::-1]}),
    "fewer columns": CONTRACT.model_copy(update={"features": CONTRACT.features[:1]}),
    "other max_weight": CONTRACT.model_copy(update={"max_weight": 7.0}),
}


def again(consortium: Consortium, keys_of, edited: DataContract) -> None:  # type: ignore[no-untyped-def]
    """Sum with all banks, then, in a run with an edited contract, without the victim."""
    for number, (banks, contract) in enumerate(((BANKS, CONTRACT), ("abm", edited))):
        consortium.ledger.note(
            keys_of(contract), reveal(banks, run_id=f"run {number}"), set_changes=0
        )


@pytest.mark.parametrize("edited", EDITED.values(), ids=EDITED)
def test_an_edited_contract_does_not_make_rows_new(
    consortium: Consortium, edited: DataContract
) -> None:
    with pytest.raises(CohortError, match="set_changes = 0"):
        again(consortium, lambda _: row_keys(consortium.files[0], consortium.ledger), edited)


@pytest.mark.parametrize("edited", EDITED.values(), ids=EDITED)
def test_control_with_a_key_of_what_is_trained_on_an_edited_contract_is_new(
    consortium: Consortium, edited: DataContract
) -> None:
    again(consortium, lambda one: [data_digest(consortium.table([0], one))[:32]], edited)
    assert consortium.ledger.summary().sets == 2
