"""Training under differential privacy: what is opened carries noise, all else follows from it."""
