"""Build the wheel of a commit, twice, and keep it only if both have the same bytes.

What decides the bytes: the commit, this Python with the setuptools that it has, and the C compiler.
What does not: the folder, the time, the umask, the time zone, the locale, the order in which a disk
lists files, and what else lies in the working directory. The second build has others of these.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What a build may take from the environment. Anything else could change its bytes unseen.
_KEPT = ("PATH", "HOME", "CC", "FRAUDFED_NO_EXT")
_FIXED = {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
#: Where the second build differs, before what is fixed above takes effect.
_OTHER = {"TZ": "Pacific/Chatham", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "PYTHONHASHSEED": "7"}
_PROGRAM = "import sys; from setuptools import build_meta as b; print(b.build_wheel(sys.argv[1]))"


def git(*arguments: str) -> bytes:
    """Return what git prints about this repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def export(commit: str, folder: Path) -> None:
    """Write the files of a commit, with modes that no umask has touched."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit))) as archive:
        archive.extractall(folder, filter="data")
    for path in folder.rglob("*"):
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if runs else 0o644)


def build(tree: Path, out: Path, *, epoch: int) -> Path:
    """Build the wheel of a folder of sources; return its file.

    Raises
    ------
    SystemExit
        If the build fails, or leaves out a part that has to be compiled.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(out)],
        cwd=tree,
        env={**environment, **_FIXED, "SOURCE_DATE_EPOCH": str(epoch)},
        umask=0o022,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"the build failed:\n{done.stdout}{done.stderr}")
    wheel = out / done.stdout.split()[-1]
    if os.environ.get("FRAUDFED_NO_EXT") != "1":
        with zipfile.ZipFile(wheel) as archive:
            built = {name.partition(".")[0] for name in archive.namelist() if name.endswith(".so")}
        wanted = {
            str(path.relative_to(tree).with_suffix("")) for path in tree.glob("fraudfed/**/*.c")
        }
        if missing := sorted(wanted - built):
            sys.exit(f"not compiled: {', '.join(missing)}\n{done.stderr}")
    return wheel


def build_once(commit: str, out: Path) -> Path:
    """Build the wheel of a commit in a folder of its own."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        export(commit, Path(folder))
        return build(
            Path(folder), out.resolve(), epoch=int(git("log", "-1", "--format=%ct", commit))
        )


def build_elsewhere(commit: str, out: Path) -> Path:
    """Build the same again in another process, whose surroundings are all different."""
    deeper = out / "a folder with another name" / "and another length"
    deeper.mkdir(parents=True)
    subprocess.run(
        [sys.executable, __file__, "--once", "--commit", commit, "--out", str(out / "wheel")],
        cwd="/",
        env={**os.environ, **_OTHER, "TMPDIR": str(deeper)},
        umask=0o077,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (wheel,) = (out / "wheel").glob("*.whl")
    return wheel


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(first: Path, second: Path) -> list[str]:
    """Name what differs between two wheels: entries, their order, bytes, modes or times."""
    described = []
    for path in (first, second):
        with zipfile.ZipFile(path) as archive:
            described.append(
                [
                    (info.filename, info.CRC, oct(info.external_attr >> 16), info.date_time)
                    for info in archive.infolist()
                ]
            )
    one, other = described
    if sorted(one) == sorted(other) and one != other:
        return ["the order of the entries"]
    return [f"{entry}" for entry in sorted(set(one) ^ set(other))]


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the wheel")
    parser.add_argument("--commit", default="HEAD", help="what is built; no change beside it is")
    parser.add_argument("--once", action="store_true", help="do not build it again to compare")
    options = parser.parse_args()
    commit = git("rev-parse", "--verify", f"{options.commit}^{{commit}}").decode().strip()
    wheel = build_once(commit, options.out)
    if not options.once:
        with tempfile.TemporaryDirectory() as folder:
            again = build_elsewhere(commit, Path(folder))
            if digest(again) != digest(wheel):
                found = "\n  ".join(differences(wheel, again)) or "only the compression"
                wheel.unlink()
                sys.exit(f"two builds of {commit[:12]} differ, no wheel is kept:\n  {found}")
        print(f"built twice, same bytes, commit {commit}")
    print(f"{digest(wheel)}  {wheel}")


if __name__ == "__main__":
    main()
