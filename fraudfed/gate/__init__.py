"""Whether a bank is better off with the shared model: compared on its own payments, by itself."""
