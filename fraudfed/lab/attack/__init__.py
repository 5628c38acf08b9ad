"""Published attacks, tried on our own models: what a model, or two of them, give away of rows."""
