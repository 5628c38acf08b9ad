"""Valid messages, tables and reports to begin with."""
