"""The audit log at a collector: syslog (RFC 5424) or CEF over UDP, TCP or a Unix socket.

The log itself is the queue: a thread reads what was committed, sends it in order and writes down
how far it came. So no request waits for a collector, memory holds one page at most, and entries
wait while a collector is away; the service's log says so. After a kill a few may come twice, and
datagrams may get lost, as may what a connection had taken when it broke: ``seq`` tells.
"""

import contextlib
import fcntl
import logging
import os
import re
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from aggregator.audit.log import AuditTrail
from aggregator.config import AuditFormat
from fraudfed import __version__
from fraudfed.durable_file import write_atomic
from fraudfed.errors import ConfigurationError, FraudFedError
from fraudfed.foreign_text import visible
from fraudfed.wire.messages import AuditEntry, AuditStatus

_log = logging.getLogger(__name__)

#: "Log audit" (RFC 5424, table 1); "informational" and "warning" (table 2).
_FACILITY = 13
_SEVERITY = {AuditStatus.ACCEPTED: 6, AuditStatus.REFUSED: 4}
#: CEF counts from 0 to 10.
_CEF_SEVERITY = {AuditStatus.ACCEPTED: 3, AuditStatus.REFUSED: 6}
#: The number for examples (RFC 5612): fraudfed has none of its own.
_ENTERPRISE = 32473
_PAGE = 500
_POLL_SECONDS = 1.0
_AWAY_SECONDS = 5.0
_SEND_SECONDS = 10.0


class Collector:
    """Where entries go.

    Parameters
    ----------
    url : str
        ``udp://HOST:PORT``, ``tcp://HOST:PORT`` or ``unix:///PATH`` (datagrams).

    Raises
    ------
    ConfigurationError
        If it is none of these.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = urlsplit(url)
            host, port = parsed.hostname or "", parsed.port or 0
        except ValueError:
            parsed, host, port = urlsplit(""), "", 0
        self._kind, self._address, self._path = parsed.scheme, (host, port), parsed.path
        networked = parsed.scheme in {"udp", "tcp"} and host and port and not parsed.path
        local = parsed.scheme == "unix" and parsed.path and not parsed.netloc
        if parsed.username is not None or not (networked or local):
            raise ConfigurationError(
                "audit_push: is no address of a collector; give udp://HOST:PORT, tcp://HOST:PORT "
                "or unix:///PATH"
            )
        self._socket: socket.socket | None = None

    def send(self, message: bytes) -> None:
        """Send one message; connects if need be.

        Raises
        ------
        OSError
            If the collector cannot be reached.
        """
        if self._socket is None:
            self._socket = self._connect()
        # A stream is framed by the length of each message (RFC 6587, 3.4.1).
        framed = b"%d %s" % (len(message), message) if self._kind == "tcp" else message
        self._socket.sendall(framed)

    def close(self) -> None:
        """Close the connection; ``send`` makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        if self._kind == "tcp":
            return socket.create_connection(self._address, timeout=_SEND_SECONDS)
        if self._kind == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            address: str | tuple[str, int] = self._path
        else:
            family, kind, protocol, _, found = socket.getaddrinfo(
                *self._address, type=socket.SOCK_DGRAM
            )[0]
            made, address = socket.socket(family, kind, protocol), found[:2]  # type: ignore[assignment]
        made.settimeout(_SEND_SECONDS)
        try:
            made.connect(address)
        except OSError:
            made.close()
            raise
        return made


class AuditPush:
    """Sends what is committed to the audit log, from one process of the service at a time.

    Parameters
    ----------
    directory : Path
        For the lock, and for how far it came (``audit.pushed``).
    """

    def __init__(
        self,
        trail: AuditTrail,
        collector: Collector,
        form: AuditFormat,
        directory: Path,
        *,
        poll_seconds: float = _POLL_SECONDS,
        away_seconds: float = _AWAY_SECONDS,
    ) -> None:
        self._trail = trail
        self._collector = collector
        self._write = _FORMS[form]
        self._directory = directory
        self._poll_seconds = poll_seconds
        self._away_seconds = away_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-push", daemon=True)

    def start(self) -> None:
        """Begin, where the last process ended."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; what is left goes out after the next start."""
        self._stopping.set()
        self._thread.join(timeout=_SEND_SECONDS)

    def _run(self) -> None:
        with (self._directory / "audit.push.lock").open("ab") as lock:
            while not self._stopping.is_set():
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                self._stopping.wait(self._poll_seconds)
            pushed, is_away = self._pushed(), False
            while not self._stopping.is_set():
                try:
                    pushed = self._push_page(pushed)
                except (OSError, FraudFedError) as error:
                    self._collector.close()
                    if not is_away:
                        _log.warning(
                            "the audit log is not pushed beyond entry %d (%s); the entries wait",
                            self._pushed(),
                            visible(str(error), 200) or type(error).__name__,
                        )
                    is_away, pushed = True, self._pushed()
                    self._stopping.wait(self._away_seconds)
                    continue
                if is_away:
                    _log.info("the audit log is pushed again, up to entry %d", pushed)
                is_away = False
            self._collector.close()

    def _push_page(self, pushed: int) -> int:
        """Send what follows; return the last entry that was sent."""
        entries = self._trail.entries(start=pushed + 1, limit=_PAGE)
        if not entries:
            self._stopping.wait(self._poll_seconds)
            return pushed
        done = pushed
        try:
            for entry in entries:
                self._collector.send(self._write(entry))
                done = entry.seq
        finally:
            if done != pushed:
                write_atomic(self._position, f"{done}\n".encode())
        return done

    @property
    def _position(self) -> Path:
        return self._directory / "audit.pushed"

    def _pushed(self) -> int:
        try:
            text = self._position.read_text().strip()
        except OSError:
            return 0
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def syslog(entry: AuditEntry) -> bytes:
    """Return an entry as one message of syslog, with all its fields as structured data."""
    facts = {
        "seq": entry.seq,
        "actor": entry.actor,
        "subject": entry.subject,
        "status": entry.status.value,
        "bodySha256": entry.body_sha256 or "",
        "hash": entry.hash,
        "previousHash": entry.previous_hash,
    }
    told = " ".join(f'{name}="{_escaped(value, chr(34) + "]")}"' for name, value in facts.items())
    return _envelope(entry, f"[audit@{_ENTERPRISE} {told}]", visible(entry.detail))


def cef(entry: AuditEntry) -> bytes:
    """Return an entry as a CEF event (ArcSight, version 0) in an envelope of syslog."""
    kind = _escaped(entry.kind, "|")
    severity = _CEF_SEVERITY[entry.status]
    facts = {
        "rt": entry.time * 1000,
        "externalId": entry.seq,
        "suser": entry.actor,
        "outcome": entry.status.value,
        "cs1Label": "subject",
        "cs1": entry.subject,
        "cs2Label": "hash",
        "cs2": entry.hash,
        "msg": entry.detail,
    }
    told = " ".join(f"{name}={_escaped(value, '=')}" for name, value in facts.items())
    event = f"CEF:0|fraudfed|aggregator|{__version__}|{kind}|{kind}|{severity}|{told}"
    return _envelope(entry, "-", event)


_FORMS: dict[AuditFormat, Callable[[AuditEntry], bytes]] = {
    AuditFormat.SYSLOG: syslog,
    AuditFormat.CEF: cef,
}


def _envelope(entry: AuditEntry, data: str, message: str) -> bytes:
    priority = _FACILITY * 8 + _SEVERITY[entry.status]
    time = datetime.fromtimestamp(entry.time, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    host = re.sub(r"[^!-~]", "-", socket.gethostname())[:255] or "-"
    kind = re.sub(r"[^!-~]", "-", entry.kind)[:32] or "-"
    head = f"<{priority}>1 {time} {host} aggregator {os.getpid()} {kind} {data} "
    # The mark says that the text is UTF-8 (RFC 5424, 6.4); CEF begins without one.
    mark = "" if message.startswith("CEF:") else "\ufeff"
    return f"{head}{mark}{message}".encode()


def _escaped(value: object, characters: str) -> str:
    r"""Return a value on one line, with ``\`` before itself and before each of the characters."""
    return re.sub(rf"([\\{re.escape(characters)}])", r"\\\1", visible(str(value)))
