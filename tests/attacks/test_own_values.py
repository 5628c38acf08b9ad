"""A member chooses the bounds, and the banks split one sum: what they do tells no splits apart."""

from pathlib import Path

import numpy as np
import pytest
from attack_kit.liar import (
    own_place,
)
from federations.live import LiveFederation
from federations.live_cohort import LiveCohort
from proxies.proxy import Proxy

from bank_node.run.abort import abort_reason
from bank_node.run.sums.secure_communicator import SecureCommunicator
from fraudfed.communicator import check_bound
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    FraudFedError,
)

Patch = pytest.MonkeyPatch


# What a bank does does not depend on its own values

THRESHOLDS = (100, 299, 300, 599, 600, 700)
SPLITS = ((600, 0, 0, 0), (300, 300, 0, 0), (901, -301, 0, 0))


def seen_from_outside(
    live: LiveFederation, work: Path, split: tuple[int, ...], threshold: int
) -> list[object]:
    """Return all that server and members see of a round whose bound is the threshold."""
    with Proxy(live.url) as proxy:
        cohort = LiveCohort(live, proxy.url, live.start_run(1), work, timeout=2.0)

        def work_of(name: str, communicator: SecureCommunicator) -> tuple[object, ...]:
            own = np.array([split[own_place(name)], 1], dtype=np.int64)
            try:
                total = communicator.sum(own, bound=threshold, label="histogram:0")
            except FraudFedError as error:
                return name, type(error), str(error), abort_reason(error)
            return name, total.tolist()

        ends = list(cohort.each(work_of).values())
        cohort.close()
        passed = sorted(
            (str(each.bank), each.route[1].split("/")[-1], len(each.body), each.status)
            for each in proxy.exchanges
            if each.method == "POST"
        )
    return [*ends, *passed]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_splits_of_one_sum_look_the_same_under_every_bound(
    live: LiveFederation, tmp_path: Path, threshold: int
) -> None:
    """Sizes, kinds, reasons and the round of the failure: the bound is no question to one bank."""
    views = []
    for number, split in enumerate(SPLITS):
        (tmp_path / str(number)).mkdir()
        views.append(seen_from_outside(live, tmp_path / str(number), split, threshold))
    assert views[0] == views[1] == views[2]


def test_control_a_bank_that_checks_its_own_values_answers_the_question(
    live: LiveFederation, tmp_path: Path, monkeypatch: Patch
) -> None:
    original = SecureCommunicator.sum

    def checked(self: SecureCommunicator, values: Int64Array, **options) -> Int64Array:
        check_bound(values, options["bound"], label=options["label"])
        return original(self, values, **options)

    monkeypatch.setattr(SecureCommunicator, "sum", checked)
    views = []
    for number, split in enumerate(SPLITS[:2]):
        (tmp_path / str(number)).mkdir()
        views.append(seen_from_outside(live, tmp_path / str(number), split, 300))
    assert views[0] != views[1]
