"""Measurements against a reference that runs in the same process: ``fraudfed bench ...``."""
