"""How much memory a process may use: what its groups allow, and what people write."""

from pathlib import Path

import pytest

from fraudfed.errors import ConfigurationError
from fraudfed.machine.memory import LEAST, default_limit, parse_bytes, usable_memory


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4GiB", 4 << 30),
        ("1.5 GB", 1_500_000_000),
        ("600mib", 600 << 20),
        ("1000000000", 10**9),
        ("2TB", 2 * 10**12),
        ("4096", 4096),
        ("100 B", 100),
    ],
)
def test_an_amount_is_read(text: str, amount: int) -> None:
    assert parse_bytes("--memory-limit", text) == amount


@pytest.mark.parametrize("text", ["", "much", "GiB", "4 Gigs", "-1GB", "0", "1e9", "4GiB or so"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--memory-limit is .*, expected an amount"):
        parse_bytes("--memory-limit", text)


def test_less_than_is_asked_for_is_refused() -> None:
    assert parse_bytes("--memory-limit", "512MiB", least=LEAST) == LEAST
    with pytest.raises(ConfigurationError, match="expected at least 512 MiB; give more"):
        parse_bytes("--memory-limit", "511MiB", least=LEAST)


def group(root: Path, line: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("line", "files"),
    [
        # Version 2: the least of all groups above, in or outside a container.
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "1000", "memory.max": "max"}),
        ("0::/\n", {"memory.max": "1000"}),
        ("0::/host/path\n", {"memory.max": "1000"}),
        # Version 1, beside other controllers.
        ("3:cpu:/x\n2:memory:/x\n", {"memory/x/memory.limit_in_bytes": "1000"}),
        ("2:memory,cpu:/h\n", {"memory/memory.limit_in_bytes": "1000"}),
    ],
)
def test_the_limit_of_the_group_counts(tmp_path: Path, line: str, files: dict[str, str]) -> None:
    assert usable_memory(group(tmp_path, line, files)) == 1000


def test_without_a_limit_it_is_the_machine(tmp_path: Path) -> None:
    whole = usable_memory(tmp_path)
    assert usable_memory(group(tmp_path, "0::/\n", {"memory.max": "max"})) == whole
    assert default_limit() <= max(whole // 2, 1 << 29)
