"""What drifts at this bank, and what to do about it."""
