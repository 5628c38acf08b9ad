"""A request is routed by the target that it was sent with, which is the one that is signed.

The service may stand under a path of its host, ``/fraudfed``. A reverse proxy either takes the
prefix away, and nothing is to be done here; or it leaves it, and ``--path-prefix`` says what it is.
Clients sign the path behind the prefix in either case. No header says where the service stands:
the sender of a request can write ``X-Forwarded-Prefix`` and ``SCRIPT_NAME`` as it likes.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

Application: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]

#: In the environment of a request outside the prefix: the path that it was sent to.
OUTSIDE = "aggregator.outside"


def target_of(environ: dict[str, Any]) -> str:
    """Return path and query as they were sent, percent-encoded, behind the prefix."""
    target: str = environ.get("RAW_URI") or environ["REQUEST_URI"]
    return target


def under_prefix(application: Application, prefix: str) -> Application:
    """Serve an application under a path.

    Parameters
    ----------
    prefix : str
        ``""``, or ``/one/or/more``.
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        target = target_of(environ)
        if target.startswith(f"{prefix}/"):
            behind = target[len(prefix) :]
            path = behind.partition("?")[0]
            environ["SCRIPT_NAME"] = prefix
            # As WSGI has it: bytes in a text of Latin-1.
            environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
            environ["RAW_URI"] = environ["REQUEST_URI"] = behind
        elif prefix:
            environ[OUTSIDE] = target.partition("?")[0]
        return application(environ, start_response)

    return answer
