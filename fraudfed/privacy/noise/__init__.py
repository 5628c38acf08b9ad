"""Discrete Gaussian noise, drawn exactly: integers alone, from a stream that a fresh key opens."""
