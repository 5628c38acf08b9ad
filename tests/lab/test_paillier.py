"""``fraudfed bench paillier``: both sides do the work that is timed; the figures are not tested."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from fraudfed.lab.bench import ckks
from fraudfed.lab.bench.paillier import paillier_command, run_paillier
from fraudfed.paillier.kernels.gmp import GmpKernel
from fraudfed.paillier.kernels.kernel import kernel_names
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.secure_sum.header import HEADER_BITS

KEY_BITS = 512


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey.generate(KEY_BITS, insecure_allow_small_key=True)


def test_every_kernel_is_compared_with_phe(key: PrivateKey) -> None:
    figures = run_paillier(key, value_bits=(48, 20), threads=2, repeats=1)
    assert tuple(cost.kernel for cost in figures.kernels) == kernel_names()
    assert (figures.key_bits, figures.threads, figures.repeats) == (KEY_BITS, 2, 1)
    theirs = figures.phe
    for cost in figures.kernels:
        for ratio, reference, own in (
            (cost.encrypt_ratio, theirs.encrypt_microseconds, cost.encrypt_microseconds),
            (cost.decrypt_ratio, theirs.decrypt_microseconds, cost.decrypt_microseconds),
            (
                cost.encrypt_ratio_all_threads,
                theirs.encrypt_microseconds,
                cost.encrypt_microseconds_all_threads,
            ),
            (
                cost.decrypt_ratio_all_threads,
                theirs.decrypt_microseconds,
                cost.decrypt_microseconds_all_threads,
            ),
        ):
            assert ratio == pytest.approx(reference / own)
            assert own > 0


def test_packed_values_fill_the_slots(key: PrivateKey) -> None:
    figures = run_paillier(key, value_bits=(48, 20), repeats=1)
    capacity = key.public.plaintext_bits - HEADER_BITS
    for cost in figures.kernels:
        assert [rate.value_bits for rate in cost.packed] == [48, 20]
        for rate in cost.packed:
            # A slot is the bound's bits and a sign.
            slots = capacity // (rate.value_bits + 1)
            assert rate.values_per_ciphertext == pytest.approx(slots, rel=0.01)
            assert rate.bytes_per_value == pytest.approx(KEY_BITS / 4 / slots, rel=0.01)
            assert rate.values_per_second > 0


class _WrongKernel(GmpKernel):
    """Fast, because it computes something else."""

    def common_exponent(self, *arguments: Any, **options: Any) -> list[Any]:
        return super().common_exponent(*arguments, **options)[::-1]


def test_a_kernel_that_computes_something_else_is_not_measured(
    key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fraudfed.lab.bench.paillier.select_kernel", lambda _name: _WrongKernel())
    with pytest.raises(AssertionError, match="does not decrypt"):
        run_paillier(key, repeats=1)


def test_command_prints_json() -> None:
    arguments = ["--key-bits", "2048", "--repeats", "1", "--threads", "2", "--json"]
    done = CliRunner().invoke(paillier_command, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["key_bits"] == 2048
    assert [cost["kernel"] for cost in found["kernels"]] == list(kernel_names())
    assert {"python", "fraudfed", "phe", "gmpy2"} <= set(found["machine"]["versions"])


def test_text_shows_kernels_and_what_is_missing(
    key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ckks, "installed_version", lambda _package: None)
    figures = run_paillier(key, repeats=1)
    assert figures.ckks is None
    text = figures.to_text()
    assert "pip install 'fraudfed[bench]'" in text
    for shown in ("phe", "gmp   one thread", "M values/s of 48 bits", "512 bits", "load average"):
        assert shown in text


def test_ckks_is_measured_where_tenseal_is_installed() -> None:
    pytest.importorskip("tenseal")
    cost = ckks.measure_ckks(repeats=1)
    assert cost is not None
    # Two polynomials of 8192 coefficients modulo 100 bits: two moduli of 8 bytes each.
    assert 40 < cost.bytes_per_value < 66
    assert 0 < cost.largest_error < 1e-5
    assert cost.values_per_second == pytest.approx(1e6 / cost.encrypt_microseconds)
    assert cost.to_lines()[0].startswith("CKKS")


@pytest.mark.parametrize(
    "arguments", [["--key-bits", "2049"], ["--key-bits", "1024"], ["--value-bits", "63"]]
)
def test_impossible_options_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(paillier_command, arguments).exit_code == 2
