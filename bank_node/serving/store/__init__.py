"""What the scoring service remembers of payments, and computes features from."""
