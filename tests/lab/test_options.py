"""Options of the benchmarks: what is no number, or none that can be, is one line."""

import pytest
from click.testing import CliRunner

from fraudfed.cli import cli


@pytest.mark.parametrize(
    ("command", "option", "value", "reason"),
    [
        ("train", "--rtt", "nan", "'nan' is no finite number"),
        ("train", "--mbit", "nan", "'nan' is no finite number"),
        ("train", "--mbit", "inf", "'inf' is no finite number"),
        ("train", "--mbit", "0", "not in the range"),
        ("train", "--shares", "nan,1,1", "expected numbers above 0"),
        ("train", "--prevalence", "nan", "'nan' is no finite number"),
        ("parity", "--prevalence", "nan", "'nan' is no finite number"),
        ("parity", "--missing", "nan", "'nan' is no finite number"),
        ("ciphertexts", "--subsample", "nan", "'nan' is no finite number"),
        ("paillier", "--key-bits", "2049", "2049 is odd"),
        ("growth", "--key-bits", "2047", "not in the range"),
        ("secure-sum", "--threads", "0", "not in the range"),
    ],
)
def test_values_that_cannot_be_are_refused(
    command: str, option: str, value: str, reason: str
) -> None:
    ended = CliRunner().invoke(cli, ["bench", command, option, value])
    assert ended.exit_code == 2
    assert f"Invalid value for '{option}'" in ended.output
    assert reason in " ".join(ended.output.split())
