"""What a release says of itself is true: bills of materials, provenance, a wheel built twice.

The tools in ``deploy/release`` are run as ``make release`` runs them. The wheels here have no
compiled parts, to be quick; CI builds the whole one twice.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from declared_requirements import ROLES, ROOT, base, extra, names, pins
from packaging.utils import canonicalize_name

TOOLS = ROOT / "deploy" / "release"
SHIPPED = [role for role in ROLES if role != "dev"]

in_a_repository = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="no repository of git here"
)


def run(
    tool: str, *arguments: object, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(TOOLS / tool), *map(str, arguments)],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", **environment},
        capture_output=True,
        text=True,
        check=check,
        timeout=600,
    )


# Bills of materials


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("bills")
    run("sbom.py", "--out", out)
    found = {role: (out / f"fraudfed-{role}.cdx.json").read_text() for role in SHIPPED}
    assert len(found) == len(list(out.iterdir()))
    # The same again: no time, no order of a set.
    again = tmp_path_factory.mktemp("again")
    run("sbom.py", "--out", again, "bank", PYTHONHASHSEED="3", TZ="Asia/Tokyo")
    (path,) = again.iterdir()
    assert path.read_text() == found["bank"]
    return {role: json.loads(text) for role, text in found.items()}


@pytest.mark.parametrize("role", SHIPPED)
def test_a_bill_is_valid_cyclonedx(bills: dict[str, Any], role: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(bills[role])) is None
    broken = json.loads(json.dumps(bills[role]))
    broken["components"][0]["type"] = "a library"
    assert validator.validate_str(json.dumps(broken)) is not None


@pytest.mark.parametrize("role", SHIPPED)
def test_a_bill_lists_what_the_lock_file_installs_with_all_hashes(
    bills: dict[str, Any], role: str
) -> None:
    listed = {
        (one["name"], one["version"]): {
            digest["content"] for found in one["externalReferences"] for digest in found["hashes"]
        }
        for one in bills[role]["components"]
    }
    locked = {
        (canonicalize_name(pin.requirement.name), pin.version): {
            digest.removeprefix("sha256:") for digest in pin.hashes
        }
        for pin in pins(role)
        if any(pin.holds_on(python) for python in ("3.11", "3.12", "3.13"))
    }
    assert listed == locked
    for one in bills[role]["components"]:
        assert one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}"


@pytest.mark.parametrize("role", SHIPPED)
def test_a_bill_says_who_asks_for_whom(bills: dict[str, Any], role: str) -> None:
    graph = {one["ref"]: one.get("dependsOn", []) for one in bills[role]["dependencies"]}
    root = bills[role]["metadata"]["component"]["bom-ref"]
    asked = {re.sub(r"pkg:pypi/(.*)@.*", r"\1", ref) for ref in graph[root]}
    # Every direct requirement of the role that a lock file has, and nothing else.
    assert asked == names(base() + extra(role))
    reached, waiting = set(), [root]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += graph[ref]
    # What nobody asks for only builds the project.
    left = {one["name"] for one in bills[role]["components"] if one["bom-ref"] not in reached}
    assert left == {"setuptools"}
    excluded = {one["name"] for one in bills[role]["components"] if one["scope"] == "excluded"}
    assert excluded == left


def test_licences_are_known(bills: dict[str, Any]) -> None:
    components = [one for bill in bills.values() for one in bill["components"]]
    without = {one["name"] for one in components if not one.get("licenses")}
    # Of the packages that this Python has not installed; some name no licence.
    assert len(without) <= 8
    assert all(bill["metadata"]["component"]["licenses"] for bill in bills.values())


# Provenance


@in_a_repository
def test_provenance_names_what_it_is_made_of(tmp_path: Path) -> None:
    wheel = tmp_path / "made.whl"
    wheel.write_bytes(b"bytes")
    path = tmp_path / "made.intoto.json"
    run("provenance.py", "--builder", "urn:test", "--out", path, wheel)
    found = json.loads(path.read_text())
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [
        {"name": "made.whl", "digest": {"sha256": hashlib.sha256(b"bytes").hexdigest()}}
    ]
    definition = found["predicate"]["buildDefinition"]
    assert set(definition) == {
        *("buildType", "externalParameters", "internalParameters", "resolvedDependencies"),
    }
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert definition["externalParameters"]["commit"] == head
    source, *locks = definition["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": head}
    assert locks
    for lock in locks:
        held = subprocess.run(
            ["git", "show", f"{head}:{lock['uri'].removeprefix('file:')}"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        assert lock["digest"] == {"sha256": hashlib.sha256(held).hexdigest()}
    details = found["predicate"]["runDetails"]
    assert details["builder"] == {"id": "urn:test"}
    moments = [details["metadata"][name] for name in ("startedOn", "finishedOn")]
    assert moments == sorted(moments)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment) for moment in moments)
    # No path, name or host of the machine that built it.
    assert str(ROOT) not in path.read_text()


@in_a_repository
def test_other_bytes_are_found(tmp_path: Path) -> None:
    for name in ("one.whl", "two.whl"):
        (tmp_path / name).write_text(name)
    path = tmp_path / "made.intoto.json"
    run("provenance.py", "--out", path, *sorted(tmp_path.glob("*.whl")))
    assert run("provenance.py", "--check", path).returncode == 0
    (tmp_path / "one.whl").write_text("other")
    (tmp_path / "two.whl").unlink()
    done = run("provenance.py", "--check", path, check=False)
    assert done.returncode == 1
    assert "one.whl has other bytes; two.whl is not here" in done.stderr


# The wheel


@in_a_repository
@pytest.mark.e2e
def test_a_wheel_is_kept_if_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    done = run("wheel.py", "--out", tmp_path, FRAUDFED_NO_EXT="1", FRAUDFED_EXTRA_CFLAGS="-Wrong")
    assert "built twice, same bytes" in done.stdout
    (wheel,) = tmp_path.glob("*.whl")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in done.stdout
    with zipfile.ZipFile(wheel) as archive:
        infos = archive.infolist()
    # One time for all, and modes that no umask has touched.
    assert len({info.date_time for info in infos}) == 1
    assert {oct(info.external_attr >> 16 & 0o777) for info in infos} <= {"0o644", "0o755", "0o664"}
    # What is built is the commit: nothing that only lies in this folder.
    tracked = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    held = {info.filename for info in infos if ".dist-info/" not in info.filename}
    assert held <= set(tracked)


def test_a_difference_is_named(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r}); from pathlib import Path; import wheel;"
        "print(wheel.differences(Path(sys.argv[1]), Path(sys.argv[2])))"
    )

    def compared(*contents: list[tuple[str, str, int]]) -> str:
        paths = []
        for number, entries in enumerate(contents):
            path = tmp_path / f"{number}.whl"
            with zipfile.ZipFile(path, "w") as archive:
                for name, text, mode in entries:
                    info = zipfile.ZipInfo(name)
                    info.external_attr = mode << 16
                    archive.writestr(info, text)
            paths.append(str(path))
        return subprocess.run(
            [sys.executable, "-c", program, *paths], check=True, capture_output=True, text=True
        ).stdout.strip()

    first, second = ("a.py", "a", 0o644), ("b.py", "b", 0o644)
    assert compared([first, second], [first, second]) == "[]"
    assert compared([first, second], [second, first]) == "['the order of the entries']"
    assert "0o600" in compared([first, second], [("a.py", "a", 0o600), second])
    assert "b.py" in compared([first, second], [first, ("b.py", "c", 0o644)])
