"""The benchmark measures what it says; its figures are not tested."""

import json

import pytest
from click.testing import CliRunner

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.lab.bench.secure_sum import run_secure_sum, secure_sum_command
from fraudfed.paillier.kernels.kernel import select_kernel
from fraudfed.secure_sum.header import HEADER_BITS


def test_every_cohort_is_measured(package: KeyPackage) -> None:
    result = run_secure_sum(package, banks=(1, 3), values=100, threads=2, repeats=2)
    assert [cost.banks for cost in result.cohorts] == [1, 3]
    key = package.public_key
    # Slots of 50 bits: 7 fit beside the header, 10 without it.
    assert (key.plaintext_bits - HEADER_BITS) // 50 == 7
    assert key.plaintext_bits // 50 == 10
    for cost in result.cohorts:
        assert cost.bytes == 15 * key.ciphertext_bytes / 100
        assert cost.bare_bytes == 10 * key.ciphertext_bytes / 100
        assert cost.bytes_ratio == pytest.approx(1.5)
        assert min(cost.seal_ratio, cost.open_ratio, cost.open_microseconds) > 0
        assert min(cost.seal_values_per_second, cost.open_values_per_second) > 0
    assert (result.threads, result.repeats, result.values) == (2, 2, 100)
    assert result.machine.cores >= 1
    assert "M values/s sealed" in result.to_text()
    text = result.to_text()
    assert "seal, us" in text
    assert f"key 512 bits, kernel {select_kernel().name}, best of 2" in text


def test_sums_with_noise_are_measured_beside_exact_ones(package: KeyPackage) -> None:
    result = run_secure_sum(package, banks=(2, 3), values=100, repeats=2, noise=True)
    two, three = (cost.noised for cost in result.cohorts)
    # Of two banks with one colluder, one would be left.
    assert two is None
    assert three is not None
    assert min(three.seal_ratio, three.open_ratio, three.draws_per_second) > 0
    # 16 fractional bits less, and room for the noise: slots are narrower.
    assert three.bytes_ratio < 1
    assert three.bytes == pytest.approx(three.bytes_ratio * result.cohorts[1].bytes)
    assert "with noise: seal" in result.to_text()
    without = run_secure_sum(package, banks=(3,), values=100, repeats=1)
    assert without.cohorts[0].noised is None
    assert "with noise" not in without.to_text()


def test_command_prints_json() -> None:
    arguments = ["--json", "--values", "200", "--banks", "2", "--key-bits", "2048"]
    result = CliRunner().invoke(secure_sum_command, [*arguments, "--repeats", "1"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["key_bits"] == 2048
    assert found["values"] == 200
    assert [cohort["banks"] for cohort in found["cohorts"]] == [2]


@pytest.mark.parametrize(
    "arguments", [["--key-bits", "2049"], ["--key-bits", "1024"], ["--banks", "5000"]]
)
def test_impossible_options_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(secure_sum_command, arguments).exit_code == 2
