"""The same results found in the simplest way."""
