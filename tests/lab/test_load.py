"""The load on an aggregator: what is counted, and that a failure is no success."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from proxies.nginx import free_port
from proxies.proxy import Proxy

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.lab.bench.load.command import load_command
from fraudfed.lab.bench.load.light_banks import LightCohort
from fraudfed.lab.bench.load.rounds import Percentiles, Thirds, run_load
from fraudfed.lab.bench.load.widths import histogram_rounds
from fraudfed.secure_sum.pieces import PIECE_BYTES

OPTIONS = ["--banks", "3", "--body-bytes", "6000", "--seconds", "1", "--key-bits", "2048"]


def test_percentiles_are_in_milliseconds() -> None:
    found = Percentiles.of([0.001 * value for value in range(1, 102)])
    assert (found.count, found.p50_ms, found.p99_ms, found.max_ms) == (101, 51.0, 100.0, 101.0)


def test_thirds_are_means_in_the_order_of_time() -> None:
    found = Thirds.of([1, 3, 50, 9, 5, 7])
    assert (found.first, found.last, found.most, found.ratio) == (2.0, 6.0, 50.0, 3.0)
    assert Thirds.of([4.0]) == Thirds(4.0, 4.0, 4.0)


@pytest.mark.e2e
def test_the_command_counts_the_rounds_of_all_runs_also_through_a_proxy() -> None:
    port = free_port()
    with Proxy(f"http://127.0.0.1:{port}") as proxy:
        behind = ["--port", str(port), "--through", proxy.url]
        ended = CliRunner().invoke(
            load_command, [*OPTIONS, *behind, "--runs", "2", "--json"], catch_exceptions=False
        )
        assert proxy.exchanges
    found = json.loads(ended.stdout)
    assert found["errors"] == []
    assert (found["banks"], found["runs"], found["key_bits"]) == (3, 2, 2048)
    # 11 ciphertexts of 512 bytes.
    assert (found["ciphertexts"], found["body_bytes"]) == (11, 5632)
    assert found["rounds"] >= 2
    assert found["round"]["count"] == found["rounds"]
    # More where a wait was too short, on a busy machine.
    assert found["request"]["count"] >= found["rounds"] * 3 * 2
    assert found["sent_bytes"] > found["rounds"] * 3 * 5632
    assert found["received_bytes"] > 0
    assert [one["name"] for one in found["processes"]] == ["main", "worker 1"]
    assert all(one["peak_bytes"] > 1_000_000 for one in found["processes"])
    assert found["question"]["count"] >= 1
    assert found["resident_bytes"]["most"] > 1_000_000
    assert found["wal_bytes"]["most"] > 0
    assert 0 < found["client_share"] < 1
    assert found["machine"]["cores"] >= 1


@pytest.fixture
def failing_third_round(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = LightCohort.sum_round

    def sum_round(self: LightCohort, number: int, *arguments: Any) -> None:
        if number == 2:
            # A round that is far ahead: a real refusal by the real aggregator.
            number = 7
        real(self, number, *arguments)

    monkeypatch.setattr(LightCohort, "sum_round", sum_round)
    return


@pytest.mark.e2e
@pytest.mark.usefixtures("failing_third_round")
def test_a_refused_request_is_an_error() -> None:
    package = KeyPackage.generate(2048)
    found = run_load(banks=3, widths=lambda _: (1,), seconds=60, package=package)
    assert found.rounds == 2
    (error,) = found.errors
    assert "round 2" in error
    assert "HTTP 4" in error


@pytest.mark.e2e
@pytest.mark.usefixtures("failing_third_round")
def test_the_command_fails_with_an_error() -> None:
    ended = CliRunner().invoke(load_command, [*OPTIONS, "--seconds", "60"])
    assert ended.exit_code != 0
    assert "1 errors" in ended.stdout
    assert "1 errors under load, expected none" in str(ended.exception)


def test_more_banks_than_the_service_has_threads_are_refused() -> None:
    ended = CliRunner().invoke(load_command, ["--banks", "200", "--runs", "5"])
    assert ended.exit_code == 2
    assert "expected at most 900" in " ".join(ended.output.split())


@pytest.mark.parametrize("options", [["--port", "0"], ["--port", "8700", "--through", "a:80"]])
def test_a_proxy_without_a_port_to_pass_requests_on_to_is_refused(options: list[str]) -> None:
    ended = CliRunner().invoke(load_command, ["--through", "http://127.0.0.1:1", *options])
    assert ended.exit_code == 2
    assert "expected http://HOST:PORT of a proxy" in " ".join(ended.output.split())


def test_workers_without_a_database_that_several_can_write_are_refused() -> None:
    ended = CliRunner().invoke(load_command, ["--workers", "2"])
    assert ended.exit_code == 2
    assert "give --database" in " ".join(ended.output.split())


def test_a_wide_histogram_is_summed_in_the_pieces_of_banks() -> None:
    key = KeyPackage.generate(2048).public_key
    narrow, wide = (histogram_rounds(key, features=n, bins=64) for n in (30, 3000))
    most = PIECE_BYTES // key.ciphertext_bytes
    assert len(narrow) == 1
    # 384,000 values of 54 bits, 36 to a plaintext.
    assert sum(wide) == 384_000 // 36 + 1
    assert all(count <= most for count in wide)
    assert histogram_rounds(key, features=3000, bins=256)[:2] == (most, most)


@pytest.mark.e2e
def test_the_command_sums_wide_histograms_a_given_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fraudfed.lab.bench.load.widths.most_plaintexts", lambda _: 40)
    options = ["--features", "50", "--bins", "32", "--rounds", "2", "--seconds", "60", "--json"]
    ended = CliRunner().invoke(
        load_command, ["--banks", "3", "--key-bits", "2048", *options], catch_exceptions=False
    )
    found = json.loads(ended.stdout)
    assert (found["rounds"], found["sum_rounds"], found["errors"]) == (2, 3, [])
    assert found["largest_body_bytes"] == 40 * 512
    assert found["body_bytes"] == found["ciphertexts"] * 512 > 2 * found["largest_body_bytes"]
