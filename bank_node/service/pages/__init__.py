"""Pages for people at a bank: what left it, runs, gate, alerts. They stay at the bank."""
