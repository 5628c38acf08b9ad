"""``bank-node risk``: what all banks know of accounts, terminals and merchants."""
