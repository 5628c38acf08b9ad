"""Commands about what is done with payments, and what became of them."""
