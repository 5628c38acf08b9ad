"""The commands of ``aggregator``: on the state directory, and against a running service."""
