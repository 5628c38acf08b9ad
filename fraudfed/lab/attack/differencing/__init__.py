"""Tells one bank's part from two runs, one with and one without it."""
