"""What the HTTP servers of both roles have in common: addresses, TLS, limits, problem documents."""
