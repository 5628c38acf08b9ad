"""Documents about a run for model risk, data protection and regulators, from its own records."""
