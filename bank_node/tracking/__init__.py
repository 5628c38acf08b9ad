"""Runs and models in a tracking server."""
