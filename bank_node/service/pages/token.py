"""The token that signs people in at this bank's pages: a file that its owner alone can read."""

import hmac
import secrets
from pathlib import Path

from fraudfed.consortium.private_reading import read_private_file
from fraudfed.durable_file import PRIVATE_DIRECTORY, write_new
from fraudfed.errors import AuthError, KeyMaterialError, StateError

_NAME = "pages.token"


def token_file(serving: Path) -> Path:
    """Return the file of the token, made with 256 random bits when it is missing.

    Raises
    ------
    StateError
        If it cannot be written.
    """
    path = serving / _NAME
    try:
        serving.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        write_new(path, f"{secrets.token_urlsafe(32)}\n".encode())
    except FileExistsError:
        pass
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path


def check_token(path: Path, token: str) -> None:
    """Hold a token against the file, which is read anew: another one takes effect at once.

    Raises
    ------
    AuthError
        If it is another one, or the file cannot be read.
    """
    try:
        kept = read_private_file(path, what="token of the pages", hint="start the pages again")
    except (KeyMaterialError, StateError) as error:
        raise AuthError(f"nobody can sign in: {error}") from None
    if not hmac.compare_digest(kept.strip(), token.encode()):
        raise AuthError(f"this is not the token in {path}; copy its one line")
