"""Features that look at other payments, divided by key: what looks at what, and in which bucket."""
