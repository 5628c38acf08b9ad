"""A scoring service in a process of its own, and a bank whose model it serves."""
