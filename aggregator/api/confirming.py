"""What two operators have to agree on: the same request, word by word."""

from fraudfed.wire.messages import Message


def content_of(method: str, path: str, sent: Message | None) -> bytes:
    """Return the bytes that stand for a request, however it was sent: by a program or a page.

    Parameters
    ----------
    method : str
    path : str
        Quoted.
    sent : Message or None
        None without a body.
    """
    return f"{method} {path}\n{'' if sent is None else sent.model_dump_json()}".encode()
