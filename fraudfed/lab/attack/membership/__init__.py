"""Tells from a model whether a row was among those that it was trained on."""
