"""The signed log of everything that was accepted or refused, and the key that signs it."""
