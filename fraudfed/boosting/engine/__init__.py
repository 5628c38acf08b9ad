"""The work on one bank's rows: compiled kernels, and NumPy where they are missing."""
