"""A finished run in MLflow, a tracking server of the bank's own."""
