"""The log of decisions: append-only, encrypted, erasable by customer."""
