"""Banks in one process, without a server."""
