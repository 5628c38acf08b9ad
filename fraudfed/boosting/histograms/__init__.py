"""Sums of gradients and hessians per bin: of one bank, and over all banks."""
