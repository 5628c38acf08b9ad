"""Banks as real processes sum tables with noise: the same bytes for all, charged to each ledger."""

from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from examples.risk import SPEC, payments, risk_run
from federations.bank_process import finish, start_bank
from federations.bank_states import Banks, serving

from bank_node.run.budget import RiskBudget
from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.risk_file import read_risk_file
from bank_node.vault.vault import PlainVault
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.privacy.events import Blocks
from fraudfed.wire.messages import RiskPrivacy, RiskSpec

pytestmark = pytest.mark.e2e

NOISED = RiskSpec.model_validate(
    {
        **SPEC.model_dump(),
        "depth": 1,
        "min_customers": 1,
        "days_per_step": 7,
        "privacy": RiskPrivacy(epsilon=3.0, tolerated_colluders=1),
    }
)


def test_tables_with_noise_over_real_processes(tmp_path: Path, key_package: KeyPackage) -> None:
    with serving(tmp_path, tmp_path) as aggregator:
        banks = Banks(tmp_path, aggregator, key_package)
        files = [tmp_path / f"{seed}.parquet" for seed in range(3)]
        for seed, path in enumerate(files):
            payments(seed).to_parquet(path)
        run_id = aggregator.create_run(risk_run(banks.key_epoch.epoch, risk=NOISED))

        processes = [
            start_bank(*("--quiet", "risk", "update", "--state", banks.state(name), "--data", file))
            for name, file in zip(banks.names, files, strict=False)
        ]
        ended = [finish(process, 600) for process in processes]
        assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]
        # One round for each step.
        assert aggregator.status(run_id).round_number == 2
    found = []
    for name in banks.names[:3]:
        directory = StateDirectory(banks.state(name))
        path = directory.path / "runs" / run_id / TABLES_FILE
        kept = read_risk_file(path, vault=PlainVault(), name="risk.tables")
        found.append(kept.keyed.tables)
        ledger = directory.privacy_ledger()
        terms = risk_run(1, risk=NOISED).noise_terms
        assert terms is not None
        planned = RiskBudget(terms, NOISED).costs()
        charged = [(charge.event.rho, charge.event.blocks) for charge in ledger.charges()]
        assert [blocks for _, blocks in charged] == [blocks for _, blocks in planned]
        assert all(
            rho <= at <= rho + Fraction(1, 2**60)
            for (rho, _), (at, _) in zip(planned, charged, strict=True)
        )
        assert ledger.spent_by_customers() == sum(rho for rho, _ in charged)
        june = Blocks.of_days(date(2023, 6, 30), date(2023, 6, 30))
        assert ledger.spent(june) == ledger.spent_by_customers()
    assert len({tables.to_bytes() for tables in found}) == 1
    sketches = np.concatenate([day.frauds.ravel() for day in found[0].days]).astype(np.float64)
    # Noise of about ten reports in each counter; a month holds fewer than a hundred in all.
    assert sketches.std() > 5
    assert sketches.min() < 0
