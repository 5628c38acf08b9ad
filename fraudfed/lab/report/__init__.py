"""A demo run's results: compared bank by bank, drawn, and written as one page."""
