"""Write what this build knows about itself: an in-toto statement with SLSA provenance v1.

It says which commit, which lock files and which tools made which bytes. It is no signature: whoever
releases signs it with a key of their own (docs/deployment.md).
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
#: What "make release" does. Another procedure is another type, never this one with other steps.
BUILD_TYPE = "urn:fraudfed:build:make-release:v1"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def said_by(*command: str) -> str:
    """Return the first line that a program prints, or why there is none."""
    if shutil.which(command[0]) is None:
        return "none"
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return (done.stdout.splitlines() or [""])[0]


def dependencies(commit: str) -> list[dict[str, Any]]:
    """Return what the build was made of: the commit, and the lock files as they stand in it."""
    found: list[dict[str, Any]] = [
        {"uri": "git+file:fraudfed", "digest": {"gitCommit": commit}, "name": "source"}
    ]
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", commit, "requirements/"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    for name in listed:
        held = subprocess.run(
            ["git", "show", f"{commit}:{name}"], cwd=ROOT, check=True, capture_output=True
        ).stdout
        found.append(
            {"uri": f"file:{name}", "digest": {"sha256": hashlib.sha256(held).hexdigest()}}
        )
    return found


def statement(subjects: list[Path], *, commit: str, builder: str, started: str) -> dict[str, Any]:
    """Return the statement about some files.

    Raises
    ------
    ValueError
        If there is nothing to state, or two files have one name.
    """
    names = [path.name for path in subjects]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"provenance is of files, each with a name of its own, not of {names}")
    compiler = os.environ.get("CC", "cc")
    return {
        "_type": STATEMENT,
        "subject": [{"name": path.name, "digest": {"sha256": digest(path)}} for path in subjects],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"commit": commit, "target": "release"},
                "internalParameters": {
                    "SOURCE_DATE_EPOCH": int(said_by("git", "log", "-1", "--format=%ct", commit)),
                    "python": platform.python_version(),
                    "setuptools": version("setuptools"),
                    "compiler": said_by(compiler, "--version"),
                    "machine": platform.machine(),
                },
                "resolvedDependencies": dependencies(commit),
            },
            "runDetails": {
                # The one word here that nothing in the build can check: who ran it.
                "builder": {"id": builder},
                "metadata": {
                    "invocationId": f"urn:uuid:{uuid.uuid4()}",
                    "startedOn": started,
                    "finishedOn": now(),
                },
            },
        },
    }


def now() -> str:
    """Return the time as RFC 3339 has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check(path: Path) -> list[str]:
    """Return what is wrong with a statement or with the files beside it that it names."""
    found: dict[str, Any] = json.loads(path.read_text())
    if (found.get("_type"), found.get("predicateType")) != (STATEMENT, PREDICATE):
        return [f"{path.name} is no SLSA provenance v1"]
    wrong = []
    for subject in found["subject"]:
        file = path.parent / subject["name"]
        if not file.is_file():
            wrong.append(f"{subject['name']} is not here")
        elif digest(file) != subject["digest"]["sha256"]:
            wrong.append(f"{subject['name']} has other bytes")
    return wrong


def main() -> None:
    """Write a statement about files, or check one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", type=Path, metavar="STATEMENT", help="compare, write nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "fraudfed.intoto.json")
    parser.add_argument("--commit", default="HEAD", help="what the files were built from")
    parser.add_argument(
        "--builder", default="urn:fraudfed:builder:unnamed", help="URI of who runs this"
    )
    parser.add_argument("--started", default=now(), help="when the build began, RFC 3339")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    if options.check:
        if wrong := check(options.check):
            sys.exit("; ".join(wrong))
        print(f"{options.check}: every file that it names is here, with these bytes")
        return
    commit = said_by("git", "rev-parse", "--verify", f"{options.commit}^{{commit}}")
    made = statement(options.files, commit=commit, builder=options.builder, started=options.started)
    options.out.write_text(json.dumps(made, indent=2) + "\n")
    print(f"{options.out}: {len(made['subject'])} files, commit {commit}, not signed")


if __name__ == "__main__":
    main()
