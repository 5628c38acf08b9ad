"""bank-node serve: the scoring service."""
