"""The operator's commands, which call a running aggregator."""
