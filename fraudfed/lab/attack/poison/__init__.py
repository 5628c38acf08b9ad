"""One bank of several lies about its rows: what that does to the others, and what holds it."""
