"""Judge windows that tests make."""
