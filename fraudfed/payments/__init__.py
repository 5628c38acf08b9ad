"""What a payment is: its columns, and the code lists that they take; no numerics, no messages."""
