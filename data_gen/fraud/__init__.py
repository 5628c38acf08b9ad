"""Fraud: campaigns that move between banks, and what each kind of fraud does to its victims."""
