"""Sessions of people at a browser: a signed cookie, and a token for each session's forms.

The cookie says whose session it is and when it began; HMAC-SHA-256 under a key that is made anew
at every start of the service keeps it from being written by anybody else. So nothing is stored, a
restart ends every session, and all workers of one service know it. What it names is looked up at
every request: a token that is revoked ends its sessions.
"""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

#: Without a page being opened; what a page fetches by itself does not count.
IDLE_SECONDS = 30 * 60
#: However busy: a working day.
LONGEST_SECONDS = 8 * 3600
#: Sessions that were ended before their time and are remembered, per process.
_MOST_ENDED = 10_000


@dataclass(frozen=True)
class Session:
    """One browser's session.

    Attributes
    ----------
    id : str
        128 random bits.
    subject : str
        Name of the token that it was opened with; empty before the sign-in.
    began, seen : int
        UTC epoch seconds.
    """

    id: str
    subject: str
    began: int
    seen: int


class Sessions:
    """Makes and reads the sessions of one service. Safe to use from many threads.

    Parameters
    ----------
    key : bytes
        At least 32, from the operating system, of this start of the service alone.
    clock : callable
        UTC epoch seconds.
    """

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        if len(key) < 32:
            raise ValueError(f"session key has {len(key)} bytes, expected at least 32")
        self._key = key
        self._clock = clock
        self._ended: dict[str, int] = {}

    def open(self, subject: str) -> Session:
        """Return a new session under an id that nobody has seen (against session fixation)."""
        now = int(self._clock())
        return Session(secrets.token_urlsafe(16), subject, now, now)

    def write(self, session: Session) -> str:
        """Return the value of the session's cookie as it is now."""
        seen = replace(session, seen=int(self._clock()))
        content = base64.urlsafe_b64encode(json.dumps(asdict(seen)).encode()).decode()
        return f"{content}.{self._mac('session', content)}"

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie; None if it is not ours, has ended or is too old."""
        content, _, mac = (cookie or "").partition(".")
        # Compared as bytes: what is not ASCII would raise.
        if not hmac.compare_digest(mac.encode(), self._mac("session", content).encode()):
            return None
        session = Session(**json.loads(base64.urlsafe_b64decode(content)))
        now = self._clock()
        if now - session.seen >= IDLE_SECONDS or now - session.began >= LONGEST_SECONDS:
            return None
        return None if session.id in self._ended else session

    def end(self, session: Session) -> None:
        """Refuse a session from now on, also if its cookie was copied; in this process."""
        now = int(self._clock())
        alive = {id_: until for id_, until in self._ended.items() if until > now}
        if len(alive) >= _MOST_ENDED:
            del alive[next(iter(alive))]
        self._ended = {**alive, session.id: session.began + LONGEST_SECONDS}

    def form_token(self, session: Session) -> str:
        """Return what every form of a session carries, and no other site can know."""
        return self._mac("form", session.id)

    def is_form_token(self, session: Session, token: str) -> bool:
        """Tell in constant time whether a form was made for this session."""
        return hmac.compare_digest(token.encode(), self.form_token(session).encode())

    def _mac(self, what: str, content: str) -> str:
        return hmac.new(self._key, f"{what}\0{content}".encode(), "sha256").hexdigest()
