"""An aggregator that takes few requests slows a training down, and ends none."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from federations.bank_process import finish
from federations.bank_states import Aggregator, Banks, serving

pytestmark = pytest.mark.e2e


@pytest.fixture
def slow_aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    """Serve an aggregator that takes thirty requests of a bank at once, then three a second."""
    root = tmp_path_factory.mktemp("slow")
    settings = root / "settings.json"
    settings.write_text(json.dumps({"requests_per_second": 3}))
    members = tmp_path_factory.mktemp("members")
    with serving(root, members, "--config", str(settings)) as found:
        yield found


def problems(aggregator: Aggregator) -> dict[str, float]:
    """Return how many answers were problem documents, by their slug."""
    text = aggregator.operator("GET", "/metrics").decode()
    found = re.findall(r'^fraudfed_problems_total{problem="([^"]+)"} (\S+)$', text, re.MULTILINE)
    return {slug: float(count) for slug, count in found}


def test_banks_above_a_low_limit_end_with_their_model(
    tmp_path: Path, slow_aggregator, key_package, make_spec, make_rows
) -> None:
    banks = Banks(tmp_path, slow_aggregator, key_package)
    parameters = {"num_boost_round": 6, "max_depth": 2, "max_bin": 8}
    banks.run_id = slow_aggregator.create_run(
        make_spec(banks.key_epoch.epoch, parameters=parameters)
    )
    processes = []
    for seed, name in enumerate(banks.names):
        path = tmp_path / f"{name}.csv"
        make_rows(seed, n_rows=40).to_csv(path, index=False)
        processes.append(banks.train(name, path))
    for process in processes:
        done = finish(process, 300)
        assert done.code == 0, done.err
    # It was met, and nothing else went wrong by it.
    found = problems(slow_aggregator)
    assert found.pop("rate-limited") >= 3
    assert set(found) <= {"not-found"}
    models = {banks.record(name)["model_sha256"] for name in banks.names}
    assert len(models) == 1


def test_a_full_speed_training_meets_no_limit(
    tmp_path: Path, aggregator, key_package, make_spec, make_rows
) -> None:
    before = problems(aggregator).get("rate-limited", 0.0)
    banks = Banks(tmp_path, aggregator, key_package)
    banks.run_id = aggregator.create_run(make_spec(banks.key_epoch.epoch))
    path = tmp_path / "rows.csv"
    make_rows(1, n_rows=40).to_csv(path, index=False)
    for process in [banks.train(name, path) for name in banks.names]:
        done = finish(process, 300)
        assert done.code == 0, done.err
    assert problems(aggregator).get("rate-limited", 0.0) == before
    assert httpx.get(f"{aggregator.url}/v1/health", trust_env=False).status_code == 200
