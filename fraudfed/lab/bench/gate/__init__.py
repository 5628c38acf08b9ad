"""The gate against truth: worlds that go on until it is known which model is better."""
