"""The published schemas: what each column of a table means, and what its values must be."""
