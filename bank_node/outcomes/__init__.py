"""What became of payments: a history of labels, and what follows from it."""
