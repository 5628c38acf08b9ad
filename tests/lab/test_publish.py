"""The published page holds the figures of the results that are there, and no others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fraudfed.cli import cli
from fraudfed.lab.publish import aims, phases
from fraudfed.lab.publish import performance as publish


def train_result(**changes: Any) -> dict[str, Any]:
    """Make a result of ``bench train`` with everything that the page shows."""
    bank = {
        "name": "bank_01",
        "rows": 150_000,
        "wall_seconds": {"encrypt": 4.0, "open": 2.0, "sum": 1.0, "brand new": 0.5},
        "cpu_seconds": {"encrypt": 3.0, "open": 1.5, "sum": 0.25, "brand new": 0.5},
        "ciphertexts_per_tree": 100.0,
        "bytes_sent_per_tree": 2.5e6,
        "bytes_received_per_tree": 1.5e6,
        "peak_memory_bytes": 200 * 2**20,
        "ciphertexts": 5000,
        "values": 480_000,
    }
    return {
        "ratio": 6.25,
        "ratio_own_machines": 2.75,
        "encrypted_seconds": 12.5,
        "reference": {"seconds": 2.0},
        "own_machines": {"seconds": 5.5, "at_most_seconds": 7.0},
        "identical_trees": 49,
        "trees": 50,
        "rounds": 300,
        "banks": [bank, {**bank, "name": "bank_02", "rows": 90_000}],
        "aggregator_cpu_seconds": 1.25,
        "aggregator_peak_memory_bytes": 90 * 2**20,
        "set_up_seconds": {"consortium": 8.0, "processes": 2.0},
        "case": {"rows": 300_000, "key_bits": 3072},
        "date": "2026-01-31T10:00:00+00:00",
        "load_average": 0.125,
        "machine": {"cpu": "Some CPU", "cores": 2, "versions": {"xgboost": "3.2.0"}},
        **changes,
    }


def kernel(name: str, factor: float) -> dict[str, Any]:
    return {
        "kernel": name,
        "encrypt_microseconds": 100 / factor,
        "encrypt_ratio": 50.0 * factor,
        "encrypt_microseconds_all_threads": 50 / factor,
        "decrypt_microseconds": 1000 / factor,
        "decrypt_ratio": 5.0 * factor,
        "decrypt_microseconds_all_threads": 500 / factor,
        "packed": [{"values_per_second": 1.5e5 * factor, "bytes_per_value": 12.75}],
    }


def results() -> dict[str, dict[str, Any]]:
    paillier = {
        "key_bits": 3072,
        "phe": {"encrypt_microseconds": 5000.0, "decrypt_microseconds": 5000.0},
        "kernels": [kernel("ifma", 10.0), kernel("gmp", 1.0)],
        "ckks": {
            "version": "0.3.16",
            "poly_modulus_degree": 8192,
            "coefficient_bits": [60, 40, 40],
            "values_per_second": 1.25e6,
            "bytes_per_value": 57.5,
            "largest_error": 1e-8,
        },
    }
    point = {"encrypted_seconds": 3.0, "aggregator_peak_memory_bytes": 2**27}
    exponents = dict.fromkeys(
        (
            "encrypted_seconds",
            "own_machine_seconds",
            "reference_seconds",
            "bytes_sent",
            "bank_peak_memory_bytes",
            "aggregator_peak_memory_bytes",
        ),
        0.5,
    )
    banks = [{**point, "size": 3}, {**point, "size": 30, "aggregator_peak_memory_bytes": 2**28}]
    return {
        "paillier": paillier,
        "train": train_result(),
        "train-3m": train_result(ratio=1.75, identical_trees=50),
        "parity": {"seconds_ours": 3.0, "seconds_xgboost": 2.0, "threads": 2},
        "aggregator-memory": {
            "cohorts": [{"banks": 3, "ratio": 1.0}, {"banks": 30, "ratio": 2.0}],
        },
        "growth": {
            "dimensions": {"banks": {"points": banks, "exponents": exponents}},
            "base": train_result(),
        },
    }


def rows_of(table: str) -> dict[str, list[str]]:
    lines = table.splitlines()[2:]
    cells = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_the_page_is_what_its_results_give() -> None:
    page = publish.PAGE.read_text()
    assert publish.render(page, publish.load_results()) == page


def test_the_plot_is_of_the_published_training() -> None:
    found = publish.load_results()
    assert publish.PLOT.exists() == ("train" in found)
    if "train" in found:
        assert publish.PLOT.read_text() == phases.draw_phases(found["train"])


def test_every_command_exists_with_its_options() -> None:
    bench = cli.commands["bench"]
    for arguments in publish.COMMANDS.values():
        command = bench.commands[arguments[0]]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {*re.findall(r"--[a-z-]+", " ".join(arguments)), "--json"} <= known


def test_every_row_takes_its_figure_from_the_results() -> None:
    measured = {row: cells[-1] for row, cells in rows_of(aims.aims_table(results())).items()}
    expected = {
        "encrypt one ciphertext": "500x / 50x",
        "decrypt one ciphertext": "50x / 5x",
        "encrypt, packed": "1.50 M/s",
        "bytes per value": "12.8 of 48 bits; 8.0 in `bench train`",
        "`bench train` (300,000 rows)": "6.2x",
        "the same at 3,000,000": "1.8x",
        "300,000 rows, each bank": "2.8x",
        "300,000 rows with": "-",
        "`bench parity`": "1.50x",
        "trees identical": "49 of 50, 50 of 50",
        "aggregator memory": "2.00x",
    }
    assert len(measured) == len(expected)
    for start, figure in expected.items():
        (cell,) = (cell for row, cell in measured.items() if row.startswith(start))
        assert cell == (figure if figure == "-" else f"**{figure}**"), start


def test_a_kernel_that_was_not_there_is_a_dash() -> None:
    found = results()
    del found["paillier"]["kernels"][0]
    (row,) = (row for row in aims.AIMS if row.what.startswith("encrypt one"))
    assert row.measured(found) == "- / 50x"


def test_blocks_show_figures_and_nothing_without_results() -> None:
    page = publish.PAGE.read_text()
    shown = publish.render(page, results())
    for figure in ("12.5 s", "49 of 50", "4.00 / 3.00", "brand new", "57.5 bytes", "Some CPU"):
        assert figure in shown
    assert "0.12" in shown  # the load before
    empty = publish.render(shown, {})
    assert "12.5 s" not in empty
    assert empty.count("Not measured yet.") == len(publish._BLOCKS) - 1
    # Writing twice is writing once.
    assert publish.render(shown, results()) == shown


def test_a_page_with_missing_or_unknown_blocks_is_refused() -> None:
    page = publish.PAGE.read_text()
    with pytest.raises(ValueError, match="has a block 'nonsense'"):
        publish.render(page.replace("publish: growth", "publish: nonsense"), {})
    with pytest.raises(ValueError, match="expected each of"):
        publish.render(page.replace("publish: growth", "growth"), {})


def test_results_are_read_by_the_name_of_their_command(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps({"ratio": 1}))
    (tmp_path / "other.json").write_text("{}")
    assert publish.load_results(tmp_path) == {"train": {"ratio": 1}}


def test_the_plot_has_every_bar_and_the_same_bytes() -> None:
    figures = train_result()
    drawn = phases.draw_phases(figures)
    assert drawn.startswith("<?xml")
    assert phases.draw_phases(json.loads(json.dumps(figures))) == drawn
    colours = [phases.PHASE_COLOURS[name] for name in ("encrypt", "open", "sum")]
    for colour in colours:
        # One bar of wall and one of CPU for two banks, and one in the legend.
        assert drawn.count(f"fill: {colour}") == 5
    assert "matplotlib" not in drawn.lower().replace("matplotlib.", "")
    other = train_result()
    other["banks"][0]["wall_seconds"]["encrypt"] = 4.5
    assert phases.draw_phases(other) != drawn
