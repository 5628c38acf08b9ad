"""The real programs on a real terminal, asked by a server that wants to paint it."""

import json
import os
import pty
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.messages import EXAMPLES
from federations.bank_states import Aggregator
from federations.server_process import write_secret
from proxies.hostile import Answering, head, hostile_server

from fraudfed.wire.messages import RunList, RunStatus

pytestmark = pytest.mark.e2e

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b1;1Herror: none\nerror: forged\r\u202eall CONFIRMED\u2028x"


def on_a_terminal(*command: str | Path) -> bytes:
    """Return all that a program writes to its terminal."""
    program, *arguments = map(str, command)
    path = str(Path(sys.executable).with_name(program))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(path, [path, *arguments])
    written = b""
    try:
        while piece := os.read(terminal, 65536):
            written += piece
    except OSError:  # the end of a terminal, on Linux
        pass
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return written


def said(status: str, media_type: str, document: object) -> Answering:
    # Unlike our own services this one escapes as little as JSON lets it.
    body = json.dumps(document, ensure_ascii=False).encode()
    answer = head(status, media_type, Content_Length=len(body), X_Title="\x1b[2J") + body
    return lambda sock, _request: sock.sendall(answer)


def _raw(answer: bytes) -> Answering:
    def send(sock: socket.socket, _request: bytes) -> None:
        sock.sendall(answer)

    return send


STATUS = EXAMPLES[RunStatus].model_dump(mode="json")
STATUS |= {"failure": HOSTILE, "spec": {**STATUS["spec"], "name": HOSTILE[:90]}}
RUNS = {**EXAMPLES[RunList].model_dump(mode="json"), "runs": [STATUS]}
PROBLEM = {"title": HOSTILE, "status": 409, "detail": HOSTILE}
ANSWERS: dict[str, Answering] = {
    "runs": said("200 OK", "application/json", RUNS),
    "problem": said(
        "409 C", "application/problem+json", {"type": "urn:fraudfed:problem:conflict", **PROBLEM}
    ),
    "unknown problem": said("409 C", "application/problem+json", {"type": HOSTILE, **PROBLEM}),
    "field": said("200 OK", "application/json", {HOSTILE: HOSTILE}),
    "no JSON": _raw(head(Content_Length=9) + b"\x1b[2J\x1b[1m"),
    "media type": _raw(head(media_type="\x1b[2J/\x9b", Content_Length=0)),
    "reason": _raw(b"HTTP/1.1 500 \x1b[2Jno\r\nContent-Length: 0\r\n\r\n"),
    "no HTTP": _raw(b"\x1b[2J\x1b[1;1Herror: none\r\n\r\n"),
}


@pytest.fixture(scope="module")
def bank(aggregator: Aggregator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    aggregator.empty()
    yield aggregator.enrol(tmp_path_factory.mktemp("terminal") / "bank-a", "bank-a").path
    aggregator.empty()


def assert_unpainted(written: bytes) -> None:
    text = written.decode()
    # Rich may style our own words; nothing else than colours, and the terminal's line ends.
    ours = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")
    assert [c for c in ours if c != "\n" and not c.isprintable()] == []
    assert not [line for line in ours.splitlines() if line.startswith("error: forged")]
    assert ours.strip()


@pytest.mark.parametrize("case", ANSWERS)
def test_a_hostile_server_cannot_paint_an_operators_terminal(case: str, tmp_path: Path) -> None:
    write_secret(tmp_path / "token", "t")
    with hostile_server(ANSWERS[case]) as server:
        login = ("--url", server.url, "--token-file", tmp_path / "token")
        asked = [("aggregator", "runs", "list", *login)]
        if case == "runs":
            asked.append(("aggregator", "runs", "list", *login, "--json"))
        for command in asked:
            assert_unpainted(on_a_terminal(*command))


@pytest.mark.parametrize("case", ["problem", "field", "media type"])
def test_a_hostile_server_cannot_paint_a_banks_terminal(case: str, bank: Path) -> None:
    with hostile_server(ANSWERS[case]) as server:
        settings = bank / "bank.toml"
        settings.write_text(
            re.sub(r'aggregator = ".*"', f'aggregator = "{server.url}"', settings.read_text())
        )
        assert_unpainted(on_a_terminal("bank-node", "roster", "--state", bank))


def test_control_without_the_function_the_terminal_is_painted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import fraudfed.foreign_text as text\ntext.visible = lambda text, limit=0: text\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    write_secret(tmp_path / "token", "t")
    with hostile_server(ANSWERS["problem"]) as server:
        written = on_a_terminal(
            "aggregator", "runs", "list", "--url", server.url, "--token-file", tmp_path / "token"
        )
    assert b"\x1b[2J" in written
    with pytest.raises(AssertionError):
        assert_unpainted(written)
