"""The operator's side of the API: what calls a running aggregator."""
