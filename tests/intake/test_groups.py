"""Groups of payments are named by the lists that their metrics are shown by."""

import numpy as np
import pandas as pd

from fraudfed.evaluation.plan import PAYMENT_GROUPS
from fraudfed.evaluation.pooled import check_judged_rows
from fraudfed.intake.outcomes import outcomes_of


def test_each_payment_is_in_the_group_of_its_name() -> None:
    columns = {
        name: [values[at % len(values)] for at in range(40)]
        for name, values in PAYMENT_GROUPS.items()
    }
    rows = pd.DataFrame(
        {
            "event_time": np.arange(40),
            "label_time": np.arange(40) + 1,
            "is_fraud": 1,
            "amount_minor": 5,
            "customer_id": "c",
            "payee_id": "p",
            **columns,
        }
    )
    found = outcomes_of(rows, np.arange(40), np.ones(40, dtype=np.float32))
    check_judged_rows(found)
    assert set(found.cells) == set(PAYMENT_GROUPS)
    for name, values in PAYMENT_GROUPS.items():
        assert [values[at] for at in found.cells[name]] == columns[name]
