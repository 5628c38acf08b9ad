"""Who holds which key: the only place that reads a private key from disk."""
