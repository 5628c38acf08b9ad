"""A reverse proxy that carries an aggregator under a path of its host."""

from proxies.proxy import Exchange, Proxy


class PrefixProxy(Proxy):
    """Passes on what is sent to a prefix, and answers 404 to all else.

    Parameters
    ----------
    upstream : str
        Base URL of the aggregator, without a path.
    prefix : str
        ``/one`` or more.
    strips : bool
        Whether the aggregator sees the path without the prefix.
    added : str
        Header lines that it adds to each request, each with its line end.
    """

    def __init__(self, upstream: str, prefix: str, *, strips: bool, added: str = "") -> None:
        super().__init__(upstream)
        self._prefix = prefix
        self._strips = strips
        self._added = added.encode()
        self.url += prefix

    def ask(self, exchange: Exchange) -> None:
        """Forward a request."""
        if not exchange.path.startswith(self._prefix + "/"):
            exchange.reply(b"<html>not here</html>", status=404, media_type="text/html")
            return
        if self._strips:
            exchange.path = exchange.path.removeprefix(self._prefix)
        line, _, rest = exchange.head.partition(b"\r\n")
        method, _, version = line.split(b" ")
        exchange.head = b" ".join([method, exchange.path.encode(), version]) + b"\r\n"
        exchange.head += self._added + rest
        super().ask(exchange)
