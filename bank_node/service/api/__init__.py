"""The endpoints of the scoring service, one module for each group."""
