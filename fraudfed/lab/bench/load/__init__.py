"""An aggregator under load: light banks, a real server, and what it uses."""
