"""What became of payments: labels as a history, and what follows from it."""
