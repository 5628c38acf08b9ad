"""A shared model fitted to one bank: adapted models and calibration, from its own rows only."""
