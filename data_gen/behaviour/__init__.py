"""What customers do of their own will: everyday transactions, and occasions out of the ordinary."""
