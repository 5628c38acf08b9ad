"""Runs, rounds and models: what the API does with them, and how each change becomes durable."""
