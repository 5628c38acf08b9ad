"""``fraudfed bench noise``: each way draws what is timed; the figures are not tested."""

import json

import pytest
from click.testing import CliRunner

from fraudfed.lab.bench import noise
from fraudfed.lab.bench.noise import noise_command, run_noise
from fraudfed.machine.native import load_native


def test_all_ways_are_compared() -> None:
    figures = run_noise(values=1000, sigma_bits=31, repeats=1)
    assert (figures.values, figures.sigma_bits, figures.repeats) == (1000, 31, 1)
    assert figures.compiled == (load_native("fraudfed.privacy.noise._sampler").module is not None)
    assert figures.compiled == (figures.not_compiled == "")
    assert figures.ratio == figures.rounded_normal_per_second / figures.draws_per_second
    assert figures.python_draws_per_second > 0
    assert figures.opendp_draws_per_second is not None
    assert "exact, OpenDP" in figures.to_text()


def test_without_opendp_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "installed_version", lambda package: None)
    figures = run_noise(values=1000, sigma_bits=0, repeats=1)
    assert figures.opendp_draws_per_second is None
    assert "OpenDP is not installed" in figures.to_text()


def test_the_command_prints_a_document() -> None:
    result = CliRunner().invoke(noise_command, ["--values", "1000", "--repeats", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["values"] == 1000
