"""The secure sums of a run at one bank: sealing, sending, opening, and where the time goes."""
