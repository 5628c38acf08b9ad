"""Rebuilds training rows from the statistics of an exported model."""
