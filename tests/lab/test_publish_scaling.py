"""docs/scaling.md: page and results say the same, and the arithmetic is the estimate's."""

from pathlib import Path
from typing import Any

import pytest

from fraudfed.lab.publish import scaling as publish
from fraudfed.lab.publish.scaling_plot import draw_scaling


def _size(rows: int, seconds: float) -> dict[str, Any]:
    phases = {"histogram": seconds / 2, "encrypt": 1.25, "open": 2.0}
    pooled = {"train_seconds": seconds / 4, "read_seconds": 3.0, "peak_memory_bytes": 2**31}
    return {
        **{"rows": rows, "encrypted_seconds": seconds, "own_machine_seconds": seconds / 2},
        **{"ratio": 4.0, "ratio_own_machines": 2.0, "crypto_cpu_seconds": 3.25},
        **{"wall_seconds": seconds + 5, "model_sha256": "0123456789abcdef" * 4},
        "banks": [
            {
                "rows": rows // 2,
                "ciphertexts": 1300,
                "peak_memory_bytes": 3 * 2**30,
                "cpu_seconds": phases,
            }
        ],
        "aggregator_peak_memory_bytes": 2**27,
        "pooled": [pooled | {"external_memory": False}, pooled | {"external_memory": True}],
    }


def _results() -> dict[str, dict[str, Any]]:
    about = {"date": "2026-01-02T03:04:05", "machine": {"cpu": "A"}, "load_average": 0.1}
    return {
        "local": {"sizes": [_size(300_000, 20.0), _size(3_000_000, 80.0)], **about},
        "dask": {"sizes": [_size(3_000_000, 100.0)], **about},
        "masks": {"cpu_seconds_per_bank_and_ciphertext": 1e-6, **about},
    }


def test_the_page_is_written_from_results() -> None:
    page = publish.render(publish.PAGE.read_text(), _results())
    assert (
        "| 3,000,000 | 80 s | 40 s | 20 s | 4.00 | 2.00 | 3.25 s | 2.50 ms | 3.00 GiB | 0.12 GiB |"
        in page
    )
    assert "| encrypt | 1.2 s | 1.2 s |" in page
    assert "| 300,000 | on disk | 3 s | 5 s | 2.00 GiB |" in page
    assert "| Dask, workers on the same machine | 105 s | 100 s | 0123456789abcdef |" in page
    command = "fraudfed bench scale --rows 300000 --rows 3000000 --memory-limit 4GiB"
    assert f"| `{command}` | 2026-01-02 | A | 0.10 |" in page
    assert publish.render(page, {}).count("Not measured yet.") == 5


def test_every_consortium_is_an_estimate_and_grows_as_the_page_says() -> None:
    page = publish.render(publish.PAGE.read_text(), _results())
    begin = page.index("<!-- publish: consortia -->")
    rows = [
        [cell.strip() for cell in line.strip("| \n").split("|")]
        for line in page[begin : page.index("<!-- end -->", begin)].splitlines()[3:]
    ]
    assert [row[0] for row in rows] == ["3", "10", "100", "300", "1,000"]
    # Rounds are those of trees and depth; a bank's bytes hardly grow with banks and rows.
    rounds = [int(row[3].replace(",", "")) for row in rows]
    assert max(rounds) < 1.5 * min(rounds)
    sent = [float(row[4].split()[0].replace(",", "")) for row in rows]
    assert max(sent) < 3 * min(sent)
    masks = [float(row[6].split()[0].replace(",", "")) for row in rows]
    assert masks == sorted(masks)


def test_a_stream_of_masks_costs_something() -> None:
    found = publish.measure_masks((1, 40), ciphertexts=200, key_bits=2048)
    assert 0 < found["cpu_seconds_per_bank_and_ciphertext"] < 1e-2


def test_the_plot_is_of_the_figures_alone() -> None:
    sizes = _results()["local"]["sizes"]
    assert draw_scaling(sizes) == draw_scaling(sizes)
    assert draw_scaling(sizes[:1]) != draw_scaling(sizes)
    assert draw_scaling(sizes).count("<svg") == 1


def test_the_published_page_holds_the_results() -> None:
    results = publish.load_results()
    page = publish.PAGE.read_text()
    assert publish.render(page, results) == page
    sizes = publish._all_sizes(results)
    assert sizes
    assert publish.PLOT.read_text() == draw_scaling(sizes)


def test_an_unknown_block_is_refused(tmp_path: Path) -> None:
    del tmp_path
    with pytest.raises(ValueError, match="'more'"):
        publish.render("<!-- publish: more -->\nx\n<!-- end -->", {})
