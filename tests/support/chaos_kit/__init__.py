"""Runs of real programs under faults."""
