"""The audit log at a collector: real sockets, syslog and CEF, away and back, and as JSON lines."""

import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from federations.server_process import ServerProcess, run_command

from aggregator.audit.log import AuditRecord
from aggregator.audit.push import AuditPush, Collector, cef, syslog
from aggregator.caller import LOCAL, Role
from aggregator.config import AuditFormat
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import AuditEntry, AuditStatus

HOSTILE = 'x"]\\|=\n<1>1 forged\x1b[2J\u202e'
SYSLOG = re.compile(
    r"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ aggregator \d+ (\S+) "
    r'\[audit@32473 ((?:\w+="(?:[^"\\\]]|\\.)*" ?)+)\] \ufeff(.*)'
)


def _note(store: Store, detail: str, status: AuditStatus = AuditStatus.ACCEPTED) -> None:
    store.audit.record(AuditRecord.of(LOCAL, "noted", "service", detail, status=status))


@contextmanager
def pushing(store: Store, url: str, directory: Path, **options: float) -> Iterator[AuditPush]:
    options = {"poll_seconds": 0.02, "away_seconds": 0.02, **options}
    push = AuditPush(store.audit, Collector(url), AuditFormat.SYSLOG, directory, **options)
    push.start()
    try:
        yield push
    finally:
        push.stop()


class Frames:
    """Messages of a stream, framed by their length (RFC 6587)."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def next(self) -> str:
        length = b""
        while not length.endswith(b" "):
            piece = self._file.read(1)
            assert piece, "the stream has ended"
            length += piece
        return self._file.read(int(length)).decode()

    def close(self) -> None:
        self._file.close()


def _seq(message: str) -> int:
    found = SYSLOG.fullmatch(message)
    assert found is not None, message
    return int(re.search(r'seq="(\d+)"', found[3])[1])  # type: ignore[index]


@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_datagrams_hold_one_entry_each_in_order(store: Store, tmp_path: Path, kind: str) -> None:
    family = socket.AF_INET if kind == "udp" else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(20)
        receiver.bind(("127.0.0.1", 0) if kind == "udp" else str(tmp_path / "log"))
        url = (
            f"udp://127.0.0.1:{receiver.getsockname()[1]}"
            if kind == "udp"
            else f"unix://{tmp_path}/log"
        )
        with pushing(store, url, tmp_path):
            _note(store, HOSTILE, AuditStatus.REFUSED)
            last = store.audit.entries()[-1].seq
            messages = [receiver.recv(65536).decode() for _ in range(last)]
    assert [_seq(message) for message in messages] == list(range(1, last + 1))
    assert all(message.replace("\ufeff", "").isprintable() for message in messages)
    # "Log audit" times eight: accepted is informational, refused a warning.
    assert messages[0].startswith("<110>1 ")
    assert messages[-1].startswith("<108>1 ")


@contextmanager
def tcp_collector() -> Iterator[tuple[str, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", listener


def test_a_collector_that_comes_late_and_goes_gets_every_entry(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No request waits for it, no entry is lost, and that it is away is in the log."""
    with tcp_collector() as (url, listener):
        port = listener.getsockname()[1]
    caplog.set_level(logging.INFO)
    with pushing(store, url, tmp_path):
        for number in range(20):
            _note(store, f"while it is away {number}")
        with socket.create_server(("127.0.0.1", port)) as late:
            late.settimeout(20)
            connection, _ = late.accept()
            frames = Frames(connection)
            last = store.audit.entries()[-1].seq
            seen = [_seq(frames.next()) for _ in range(last)]
            frames.close()
            connection.close()
    assert seen == list(range(1, last + 1))
    assert "is not pushed beyond entry 0" in caplog.text


def test_after_a_restart_it_continues_where_it_was(store: Store, tmp_path: Path) -> None:
    for expected_start in (1, store.audit.entries()[-1].seq + 1):
        with tcp_collector() as (url, listener), pushing(store, url, tmp_path):
            if expected_start > 1:
                _note(store, "after the restart")
            connection, _ = listener.accept()
            frames = Frames(connection)
            last = store.audit.entries()[-1].seq
            seen = [_seq(frames.next()) for _ in range(expected_start, last + 1)]
            assert seen == list(range(expected_start, last + 1))
            # It is written down after the page was sent.
            while (
                not (tmp_path / "audit.pushed").exists()
                or int((tmp_path / "audit.pushed").read_text()) < last
            ):
                threading.Event().wait(0.01)
            frames.close()
            connection.close()


def test_two_processes_push_once(store: Store, tmp_path: Path) -> None:
    with tcp_collector() as (url, listener), pushing(store, url, tmp_path):
        connection, _ = listener.accept()
        with pushing(store, url, tmp_path):
            frames = Frames(connection)
            _note(store, "once")
            last = store.audit.entries()[-1].seq
            assert [_seq(frames.next()) for _ in range(last)] == list(range(1, last + 1))
            listener.settimeout(0.3)
            with pytest.raises(TimeoutError):
                listener.accept()
            frames.close()
            connection.close()


def _entry(store: Store, **changes: object) -> AuditEntry:
    return store.audit.entries()[0].model_copy(update=changes)


def test_hostile_text_stays_in_its_field(store: Store) -> None:
    entry = _entry(store, actor=HOSTILE, subject=HOSTILE, detail=HOSTILE, kind="a b\n|c")
    told = syslog(entry).decode()
    found = SYSLOG.fullmatch(told)
    assert found is not None
    fields = re.findall(r'(\w+)="((?:[^"\\\]]|\\.)*)"', found[3])
    assert [name for name, _ in fields][:4] == ["seq", "actor", "subject", "status"]
    event = cef(entry).decode()
    assert event.isprintable()
    header = re.split(r"(?<!\\)\|", event.partition("CEF:")[2])
    assert header[:3] == ["0", "fraudfed", "aggregator"]
    assert len(header) == 8
    names = re.findall(r"(?:^| )(\w+)(?<!\\)=", header[7])
    assert names == [
        *("rt", "externalId", "suser", "outcome"),
        *("cs1Label", "cs1", "cs2Label", "cs2", "msg"),
    ]


def test_control_without_escapes_a_field_is_forged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.audit.push._escaped", lambda value, characters: str(value))
    assert SYSLOG.fullmatch(syslog(_entry(store, actor=HOSTILE)).decode()) is None


@pytest.mark.parametrize(
    "url",
    ["", "udp://", "udp://h", "tcp://h:0", "http://h:1", "tcp://u:p@h:1", "unix://", "tcp://h:x"],
)
def test_what_is_no_collector_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="audit_push"):
        Collector(url)


@pytest.mark.e2e
def test_a_service_pushes_what_it_records(state: StateDirectory, tmp_path: Path) -> None:
    token = "unknown-token-of-somebody"
    with tcp_collector() as (url, listener):
        settings = tmp_path / "settings.json"
        settings.write_text(json.dumps({"audit_push": url, "audit_push_format": "cef"}))
        with ServerProcess(state.path, options=("--config", str(settings))) as server:
            connection, _ = listener.accept()
            connection.settimeout(20)
            frames = Frames(connection)
            assert server("GET", "/v1/runs", token=token).status == 401
            messages = []
            while not messages or "outcome=refused" not in messages[-1]:
                messages.append(frames.next())
            assert "CEF:0|fraudfed|aggregator|" in messages[-1]
            assert "suser=anonymous" in messages[-1]
            secrets = (token, state.operator_token.read_text().strip())
            assert not [one for one in messages for secret in secrets if secret in one]
            assert server.stop() == 0
            frames.close()
            connection.close()
    assert "Traceback" not in server.log()


def test_the_log_as_json_lines(state: StateDirectory, store: Store) -> None:
    store.tokens.create("eve", Role.VIEWER)
    printed = run_command("audit", "show", "--json-lines", "--state", str(state.path))
    entries = [AuditEntry.model_validate_json(line) for line in printed.stdout.splitlines()]
    assert tuple(entries) == store.audit.entries()
    later = run_command("audit", "show", "--json-lines", "--state", str(state.path), "--start", "2")
    assert later.stdout.splitlines() == printed.stdout.splitlines()[1:]
