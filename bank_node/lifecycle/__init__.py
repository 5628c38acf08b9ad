"""The model in charge at this bank, those beside it, and why: ``serving/lifecycle.json``."""
